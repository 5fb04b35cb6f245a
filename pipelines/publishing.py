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

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.config import Settings
from pipelines.datasets.card import SPLIT, card
from pipelines.datasets.manifest import RunInfo, content_digest, manifest_of
from pipelines.datasets.versions import MANIFEST, PublishedVersion, list_versions, read_version
from pipelines.errors import WorkspaceError
from pipelines.lake import Lake, write_shards
from pipelines.tables import TRAINING_SETS

CARD = "README.md"
DIGEST_LENGTH = 12
BUILDING, REMOVING = ".building-", ".removing-"
STALE_AFTER_S = 24 * 3600.0


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
            return read_version(target)
        manifest = manifest_of(settings, lake, night, version, digest, tables, files, run_info or RunInfo())
        _write_text(building / CARD, card(manifest, tables, config.license, target))
        _write_text(building / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
        _appear(building, target)
    _remove_old(folder, config.name, config.keep, just_made=version)
    return read_version(target)


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
