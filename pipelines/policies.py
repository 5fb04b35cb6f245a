"""New policies: checkpoints that appear in a watched folder, and which of them the next night uses.

`schedule.policy_folder` names a folder. It, or any folder in it, that holds a `config.json` is a checkpoint; the newest
one that can be used becomes the policy, and what was chosen is written to the workspace's state. A night never changes
its policy half-way: only what is written there counts, and it is written between nights (`adopt`). A checkpoint that
cannot be used (no weights, a cut file, weights of another shape, another tokenizer) is named with its reason; the one
before it stays.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.config import Settings
from pipelines.inference.checkpoint_files import why_unloadable
from pipelines.inference.session import model_folder

FILE = "policy.json"
TOKENIZER_PARTS = ("model", "added_tokens", "pre_tokenizer", "normalizer", "post_processor")
"""Parts of a tokenizer.json that decide which tokens a text becomes."""


@dataclass(frozen=True)
class Rejected:
    """A checkpoint that is not used, and why."""

    folder: Path
    reason: str


@dataclass(frozen=True)
class Adoption:
    """`folder` is the checkpoint in force, None where the configured policy is; `is_new` where it was not before."""

    folder: Path | None
    is_new: bool
    rejected: Sequence[Rejected]


def with_adopted_policy(settings: Settings) -> Settings:
    """The settings with the adopted checkpoint as policy; the same ones where none was adopted or none is watched."""
    folder = adopted(settings)
    if folder is None:
        return settings
    policy = settings.policy.model_copy(update={"model": str(folder)})
    return settings.model_copy(update={"policy": policy})


def adopted(settings: Settings) -> Path | None:
    """The checkpoint that was chosen last; None where none was, where it is gone, or where no folder is watched."""
    if settings.schedule.policy_folder is None:
        return None
    try:
        data = json.loads((settings.state_dir / FILE).read_text(encoding="utf-8"))
        folder = Path(data["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return folder if folder.is_dir() else None


def adopt(settings: Settings) -> Adoption:
    """Chooses the newest usable checkpoint of the watched folder and writes the choice down; call it between nights."""
    before = adopted(settings)
    chosen, rejected = newest_usable(settings)
    if chosen is None or chosen == before:
        return Adoption(before, False, rejected)
    path = settings.state_dir / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps({"folder": str(chosen)}), encoding="utf-8")
    os.replace(part, path)
    return Adoption(chosen, True, rejected)


def newest_usable(settings: Settings) -> tuple[Path | None, list[Rejected]]:
    """The newest checkpoint that can be used, and those newer than it that cannot."""
    rejected: list[Rejected] = []
    for folder in checkpoints(settings):
        reason = why_not(folder, model_folder(settings.policy.model))
        if reason is None:
            return folder, rejected
        rejected.append(Rejected(folder, reason))
    return None, rejected


def checkpoints(settings: Settings) -> list[Path]:
    """Folders with a `config.json` in the watched folder, or itself, the latest one first; of equal ones by name."""
    if settings.schedule.policy_folder is None:
        return []
    root = settings.in_workspace(settings.schedule.policy_folder)
    if not root.is_dir():
        return []
    found = [path.parent for path in (root / "config.json", *root.glob("*/config.json")) if path.is_file()]
    return sorted(found, key=lambda folder: ((folder / "config.json").stat().st_mtime_ns, folder.name), reverse=True)


def why_not(folder: Path, current: Path) -> str | None:
    """Why a checkpoint cannot follow the current policy; None where it can."""
    if (reason := why_unloadable(folder)) is not None:
        return reason
    if not _same_tokenizer(folder, current):
        return (
            f"The tokenizer of {folder} is not that of the policy in {current}: tokens, log-probabilities and critics "
            "of earlier nights would not fit. Name it as policy.model by hand if that is meant."
        )
    return None


def _same_tokenizer(folder: Path, current: Path) -> bool:
    mine, other = folder / "tokenizer.json", current / "tokenizer.json"
    if mine.is_file() and other.is_file():
        try:
            one, two = (json.loads(path.read_text(encoding="utf-8")) for path in (mine, other))
        except ValueError:
            return False
        if not (isinstance(one, dict) and isinstance(two, dict)):
            return False
        if any(one.get(part) != two.get(part) for part in TOKENIZER_PARTS):
            return False
        return _end_mark(folder) == _end_mark(current)
    names = {path.name for path in (*folder.iterdir(), *current.iterdir()) if path.name.startswith(("vocab", "merges"))}
    names |= {name for name in ("tokenizer.model", "spiece.model", "tekken.json") if (current / name).is_file()}
    return bool(names) and all(
        (folder / name).is_file() and (current / name).is_file()
        and (folder / name).read_bytes() == (current / name).read_bytes()
        for name in names
    )  # fmt: skip


def _end_mark(folder: Path) -> object:
    """The token that ends an answer, as the tokenizer's configuration names it; None where it names none."""
    file = folder / "tokenizer_config.json"
    if not file.is_file():
        return None
    mark = json.loads(file.read_text(encoding="utf-8")).get("eos_token")
    return mark.get("content") if isinstance(mark, dict) else mark
