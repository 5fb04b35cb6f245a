"""Critics on disk: a model folder that plain transformers and vLLM load, with a manifest beside the weights.

    config.json model.safetensors tokenizer files    what any loader needs
    manifest.json                                    `CriticManifest`: data version, configuration, metrics, digest
    training_problems.json                           ids of all problems that training or its early stop saw

A folder appears complete or not at all: it is written beside its place and renamed. The digest covers
weights and network configuration only, so equal training gives an equal digest whatever the clock says.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from critics.errors import CheckpointError

PROJECT_ROOT = Path(__file__).resolve().parents[1]
CODE = ("critics/*.py", "sql/critics/*.sql")
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "chat_template.jinja",
)  # fmt: skip


@dataclass(frozen=True)
class CriticManifest:
    """Where a critic comes from."""

    kind: str  # process | outcome | preference
    digest: str  # sha256 of config.json and model.safetensors
    data_version: str  # generations of the tables that it learned from
    examples_digest: str  # sha256 of the labelled steps
    init_digest: str  # digest of the folder that it started from
    fold: int | None  # problems of this fold were left out; None: trained on every training problem
    num_folds: int
    training_problems_digest: str  # of training_problems.json, independent of order
    num_problems: int
    num_nodes: int
    num_pairs: int
    config: Mapping[str, float | int | str]
    metrics: Mapping[str, float]
    created_at: str  # UTC, ISO 8601
    code_digest: str = ""  # `code_digest` of the code that trained it; "": written before there was one


def save_critic(
    critic: PreTrainedModel,
    tokenizer_folder: Path,
    out_folder: Path,
    manifest: CriticManifest,
    training_problems: frozenset[str],
    more: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> CriticManifest:
    """Write a checkpoint folder, replacing an earlier one as a whole; returns the manifest with its digest.

    more: further safetensors files beside the network's, in folders of their own: path -> weights.
    """
    unfinished = out_folder.parent / f".{out_folder.name}.{uuid.uuid4().hex}"
    try:
        out_folder.parent.mkdir(parents=True, exist_ok=True)
        critic.save_pretrained(unfinished)
        for place, weights in (more or {}).items():
            (unfinished / place).parent.mkdir()
            save_file(dict(weights), unfinished / place)
        for name in TOKENIZER_FILES:
            if (tokenizer_folder / name).is_file():
                shutil.copyfile(tokenizer_folder / name, unfinished / name)
        manifest = dataclasses.replace(manifest, digest=folder_digest(unfinished))
        _write_json(unfinished / "training_problems.json", sorted(training_problems))
        _write_json(unfinished / "manifest.json", dataclasses.asdict(manifest))
        _replace_folder(unfinished, out_folder)
    except (OSError, SafetensorError) as error:
        raise _not_written(out_folder, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return manifest


def read_manifest(folder: Path) -> CriticManifest:
    """The manifest of a checkpoint; CheckpointError where there is none or it has other fields."""
    path = Path(folder) / "manifest.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no critic: it has no manifest.json; train one, or name its folder")
    fields = json.loads(path.read_text())
    known = {field.name for field in dataclasses.fields(CriticManifest)}
    needed = {field.name for field in dataclasses.fields(CriticManifest) if field.default is dataclasses.MISSING}
    if not needed <= set(fields) <= known:
        odd = sorted(set(fields) - known | needed - set(fields))
        raise CheckpointError(f"{path} has other fields than this version writes: {odd}")
    return CriticManifest(**fields)


def read_training_problems(folder: Path) -> frozenset[str]:
    """Ids of all problems that the critic of a checkpoint has seen."""
    return frozenset(json.loads((Path(folder) / "training_problems.json").read_text()))


def problems_seen_by(folder: Path) -> frozenset[str]:
    """Training problems of a critic, which a critic that starts from it has seen too; none for a plain model."""
    return read_training_problems(folder) if (Path(folder) / "training_problems.json").is_file() else frozenset()


def folder_digest(folder: Path) -> str:
    """sha256 (hex) of a model folder's configuration and safetensors weights, also those in folders below it."""
    sha = hashlib.sha256()
    for path in [folder / "config.json", *sorted(folder.rglob("*.safetensors"))]:
        sha.update(path.name.encode())
        with path.open("rb") as file:
            sha.update(hashlib.file_digest(file, "sha256").digest())
    return sha.hexdigest()


def code_digest(root: Path = PROJECT_ROOT) -> str:
    """sha256 (hex) of the sources by which critics learn and score: this folder and its queries."""
    sha = hashlib.sha256()
    for path in sorted(file for pattern in CODE for file in root.glob(pattern)):
        sha.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()


def save_progress(path: Path, progress: Mapping) -> None:
    """Write the state of an unfinished training, atomically."""
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(dict(progress), unfinished)
        os.replace(unfinished, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise _not_written(path, error) from error


def load_progress(path: Path, fingerprint: str) -> Mapping | None:
    """The state of an unfinished training of the same data, configuration and start; else None."""
    if not path.is_file():
        return None
    progress = torch.load(path, weights_only=True)
    return progress if progress["fingerprint"] == fingerprint else None


def _not_written(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} cannot be written: {error}. The critic of before, if there was one, is untouched; make room or name "
        "another folder (paths.checkpoints), and run again: training goes on from its last saved state."
    )


def _replace_folder(new: Path, place: Path) -> None:
    old = place.parent / f".{place.name}.old.{uuid.uuid4().hex}"
    if place.exists():
        os.rename(place, old)
    os.rename(new, place)
    shutil.rmtree(old, ignore_errors=True)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
