"""Training sets -> an immutable dataset version that any trainer loads with `datasets.load_dataset`.

    <datasets_dir>/<name>/<name>-<night>-<digest>/
        README.md                              dataset card; its YAML names every set as a config
        manifest.json                          counts, checksums, configuration, digests, lineage
        sft/train-00000-of-00001.parquet ...   one folder per set that has rows

Invariants
- A version is built in a hidden sibling folder, its manifest written last, and appears by one rename: it is there
  complete or not at all. Without manifest.json a folder is no version. It is never written again.
- The digest is that of the content, so publishing the same content again gives the same version and writes nothing.
- The folder's last path component is unique and the card holds a description and `dataset_info` per config, because
  `datasets` keys its cache by folder name and card text and not by the files: under a name used twice, or through a
  `latest` link, it would serve the rows of another version. `resolve` therefore returns the real folder.
- Every set has one Arrow schema, no empty shard, no column of type null (each of them breaks the loader).
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import yaml

from pipelines.config import Settings
from pipelines.errors import WorkspaceError
from pipelines.lake import FileEntry, Lake, write_shards
from pipelines.tables import SCHEMAS, TRAINING_SETS, UNPARTITIONED

MANIFEST = "manifest.json"
CARD = "README.md"
SPLIT = "train"
DIGEST_LENGTH = 12
LATEST = "latest"
BUILDING, REMOVING = ".building-", ".removing-"
STALE_AFTER_S = 24 * 3600.0
SOURCE_FOLDERS = ("pipelines", "critics", "sql")
MEANINGS = {
    "sft": "right solutions to imitate: `prompt`, `completion`",
    "preference": "pairs with an explicit prompt: `prompt`, `chosen`, `rejected`, and the `margin` that made them",
    "stepwise": "steps with a label each: `prompt`, `completions`, `labels`; a path ends at its first wrong step; "
    "`soft_labels` are Monte Carlo values, `visit_counts` the evidence behind them",
    "prompts": "prompts alone with their `reference_answer`",
    "rl_groups": "rollouts in groups with token ids, `behaviour_logprobs`, `reward`, `advantage` (over the kept "
    "rollouts of the group) and `loss_weight`",
}


@dataclass(frozen=True)
class RunInfo:
    """What made the data, beyond what configuration and lake know."""

    code_digest: str = ""  # of the source that ran; "" = that of the source as it is now (`source_digest`)
    engine: str = ""  # name and version of the inference engine
    models: Mapping[str, str] = field(default_factory=dict)  # role (policy, process_critic) -> digest of its weights
    run_id: str = ""


@dataclass(frozen=True)
class PublishedVersion:
    """One immutable version: `path` is its real folder, `version` that folder's name."""

    path: Path
    version: str
    manifest: Mapping[str, object]


def publish(
    settings: Settings,
    lake: Lake,
    night: str,
    sets: Sequence[str] = TRAINING_SETS,
    run_info: RunInfo | None = None,
) -> PublishedVersion:
    """Publish one night's training sets, or return the version that already has exactly this content.

    Versions beyond the `publishing.keep` newest are removed. WorkspaceError when no set has a row, since a version
    without rows is what a failed night would look like.
    """
    tables = {name: lake.read(name, night) for name in sets}
    tables = {name: table for name, table in tables.items() if table.num_rows}
    if not tables:
        raise WorkspaceError(
            f"There is nothing to publish for {night}: the sets {', '.join(sets)} have no rows in {lake.root}."
            " Materialise the training sets of that night first."
        )
    config = settings.publishing
    folder = settings.datasets_dir / config.name
    with _building(folder) as building:
        files = {name: write_shards(building / name, SPLIT, tables[name], config.max_shard_rows) for name in tables}
        digest = content_digest(tables, files)
        version = f"{config.name}-{night}-{digest[:DIGEST_LENGTH]}"
        target = folder / version
        if (target / MANIFEST).is_file():
            return _read_version(target)
        manifest = _manifest(settings, lake, night, version, digest, tables, files, run_info or RunInfo())
        _write_text(building / CARD, card(manifest, tables, config.license, target))
        _write_text(building / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
        _appear(building, target)
    _remove_old(folder, config.name, config.keep, just_made=version)
    return _read_version(target)


def list_versions(datasets_dir: Path, name: str) -> list[PublishedVersion]:
    """All versions of a dataset, oldest first; folders without a manifest are none."""
    folder = Path(datasets_dir) / name
    found = [_read_version(path.parent) for path in folder.glob(f"{name}-*/{MANIFEST}")] if folder.is_dir() else []
    return sorted(found, key=lambda one: (str(one.manifest["created_at"]), one.version))


def resolve(datasets_dir: Path, name: str, version: str = LATEST) -> PublishedVersion:
    """The newest version, or the one whose name or digest starts as given; WorkspaceError when there is none."""
    versions = list_versions(datasets_dir, name)
    if version == LATEST:
        matches = versions[-1:]
    else:
        starts = [one for one in versions if version and _is_called(one, version)]
        matches = [one for one in starts if one.version == version] or starts
    if len(matches) == 1:
        return matches[0]
    there = ", ".join(one.version for one in versions[-5:]) or "none; publish one first"
    problem = "is not a version" if not matches else f"fits {len(matches)} versions"
    raise WorkspaceError(f"{version!r} {problem} of the dataset {name!r} in {datasets_dir}. Versions there: {there}.")


def content_digest(tables: Mapping[str, pa.Table], files: Mapping[str, Sequence[FileEntry]]) -> str:
    """SHA-256 over the names, columns and file digests of the sets, in the order of their names."""
    parts = [
        [name, {column.name: str(column.type) for column in tables[name].schema}, [file.sha256 for file in files[name]]]
        for name in sorted(tables)
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def source_digest() -> str:
    """SHA-256 over this project's Python and SQL source as it is on disk."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for folder in SOURCE_FOLDERS:
        for path in sorted(path for path in (root / folder).rglob("*") if path.suffix in (".py", ".sql", ".txt")):
            digest.update(f"{path.relative_to(root)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


# the version's own files --------------------------------------------------------------------------


def _manifest(
    settings: Settings,
    lake: Lake,
    night: str,
    version: str,
    digest: str,
    tables: Mapping[str, pa.Table],
    files: Mapping[str, Sequence[FileEntry]],
    run_info: RunInfo,
) -> dict[str, object]:
    sets = {
        name: {
            "num_rows": table.num_rows,
            "num_bytes": table.nbytes,
            "columns": {column.name: str(column.type) for column in table.schema},
            "files": [asdict(file) | {"path": f"{name}/{file.path}"} for file in files[name]],
        }
        for name, table in tables.items()
    }
    return {
        "format": 1,
        "name": settings.publishing.name,
        "version": version,
        "night": night,
        "created_at": datetime.now(UTC).isoformat(),
        "content_sha256": digest,
        "num_rows": sum(table.num_rows for table in tables.values()),
        "sets": sets,
        "upstream_generations": _generations(lake, night),
        "models": dict(run_info.models),
        "engine": run_info.engine,
        "code_digest": run_info.code_digest or source_digest(),
        "run_id": run_info.run_id,
        "configuration": settings.model_dump(mode="json", exclude={"root"}),
    }


def _generations(lake: Lake, night: str) -> dict[str, str]:
    """Generation of every table that the night has; tables without nights are in the partition `all`."""
    found = {table: lake.generation(table, "all" if table in UNPARTITIONED else night) for table in SCHEMAS}
    return {table: generation for table, generation in found.items() if generation is not None}


def card(manifest: Mapping[str, object], tables: Mapping[str, pa.Table], licence: str, path: Path) -> str:
    """The dataset card: YAML that `load_dataset` reads, then what a reader wants to know."""
    version = str(manifest["version"])
    front = {
        "license": licence,
        "pretty_name": version,
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "reasoning", "reasonmill"],
        "configs": [
            {
                "config_name": name,
                "description": f"{version}/{name}",
                "data_files": [{"split": SPLIT, "path": f"{name}/{SPLIT}-*.parquet"}],
            }
            for name in tables
        ],
        "dataset_info": [_dataset_info(name, table, manifest["sets"][name]) for name, table in tables.items()],
    }
    front["configs"][0]["default"] = True
    yaml_text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return f"---\n{yaml_text}---\n\n{_card_text(manifest, tables, path)}"


def _dataset_info(name: str, table: pa.Table, entry: Mapping[str, object]) -> dict[str, object]:
    size = sum(file["num_bytes"] for file in entry["files"])
    return {
        "config_name": name,
        "features": [_feature(column) for column in table.schema],
        "splits": [{"name": SPLIT, "num_bytes": table.nbytes, "num_examples": table.num_rows}],
        "download_size": size,
        "dataset_size": table.nbytes,
    }


def _feature(column: pa.Field) -> dict[str, str]:
    """One column in the words of `datasets.Features`."""
    if pa.types.is_list(column.type):
        return {"name": column.name, "list": _dtype(column.type.value_type)}
    return {"name": column.name, "dtype": _dtype(column.type)}


def _dtype(kind: pa.DataType) -> str:
    return {"double": "float64"}.get(str(kind), str(kind))


def _card_text(manifest: Mapping[str, object], tables: Mapping[str, pa.Table], path: Path) -> str:
    rows = [f"| `{name}` | {table.num_rows:,} | {MEANINGS.get(name, '')} |" for name, table in tables.items()]
    columns = [f"- `{name}`: {', '.join(f'{c.name} ({c.type})' for c in tables[name].schema)}" for name in tables]
    models = [f"- {role}: `{digest}`" for role, digest in sorted(manifest["models"].items())]
    first = next(iter(tables))
    return "\n".join([
        f"# {manifest['version']}",
        "",
        f"Reasoning data made by Reasonmill in the night {manifest['night']}; an immutable version, never rewritten.",
        "",
        "| set | rows | what a row is |",
        "|---|---|---|",
        *rows,
        "",
        "## Load",
        "",
        "```python",
        "from datasets import load_dataset",
        f'{first} = load_dataset("{path}", "{first}", split="{SPLIT}")',
        "```",
        "",
        "## Columns",
        "",
        *columns,
        "",
        "## Provenance",
        "",
        "Generated by a language model and graded by rules; only training problems are in it. `manifest.json` has row",
        "counts, checksums, the whole configuration and the generations of the tables it was made from.",
        "",
        f"- code: `{manifest['code_digest']}`",
        f"- engine: {manifest['engine'] or 'not recorded'}",
        f"- policy: {manifest['configuration']['policy']['model']}",
        *models,
        "",
    ])  # fmt: skip


# appearing and disappearing -----------------------------------------------------------------------


@contextmanager
def _building(folder: Path) -> Iterator[Path]:
    """A hidden folder beside the versions, gone at the end whatever happens; leftovers of killed runs go too."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=BUILDING, dir=folder))
        building.chmod(0o755)
    except OSError as error:
        reason = error.strerror or error
        raise WorkspaceError(f"{folder} cannot be written: {reason}. It is `paths.datasets` and the name.") from error
    for left in [path for start in (BUILDING, REMOVING) for path in folder.glob(f"{start}*")]:
        if time.time() - left.stat().st_mtime > STALE_AFTER_S:
            shutil.rmtree(left, ignore_errors=True)
    try:
        yield building
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _appear(building: Path, target: Path) -> None:
    """Rename into place; where another process has just published the same content, its version stands."""
    try:
        os.rename(building, target)
    except OSError:
        if not (target / MANIFEST).is_file():
            raise


def _write_text(path: Path, text: str) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = error.strerror or error
        raise WorkspaceError(f"{path} could not be written: {reason}. No version was published.") from error


def _remove_old(folder: Path, name: str, keep: int, just_made: str) -> None:
    """Remove all but the `keep` newest versions; a version disappears by one rename."""
    versions = list_versions(folder.parent, name)
    for old in versions[: max(len(versions) - keep, 0)]:
        if old.version != just_made:
            hidden = folder / f"{REMOVING}{old.version}"
            with suppress(FileNotFoundError):  # another publisher removes it at the same time
                os.rename(old.path, hidden)
            shutil.rmtree(hidden, ignore_errors=True)


def _read_version(path: Path) -> PublishedVersion:
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkspaceError(f"{file} cannot be read: {error}. Remove that folder or restore the file.") from error
    return PublishedVersion(path.resolve(), path.name, manifest)


def _is_called(one: PublishedVersion, text: str) -> bool:
    names: Iterable[str] = (one.version, str(one.manifest["content_sha256"]))
    return any(name.startswith(text) for name in names)
