"""Training sets -> an immutable dataset version that any trainer loads with `datasets.load_dataset`.

    <datasets_dir>/<name>/<name>-<night>-<digest>/
        README.md                              dataset card; its YAML names every set as a config
        manifest.json                          counts, checksums, configuration, digests, lineage
        sft/train-00000-of-00001.parquet ...   one folder per set that has rows

Invariants
- A version is built in a hidden folder, its manifest written last, and appears complete or not at all: by one rename,
  or on an object store by an upload whose manifest comes last (`versions.DatasetStore`). A whole one is never written
  again.
- Rows stream from the lake through row groups to disk: memory holds about a row group per set, whatever their number.
  The same rows make the same bytes, however the lake has laid them out.
- The digest is that of the content, so publishing the same content again gives the same version and writes nothing,
  unless a file of it is not the one that was published any more: that one is put right (`datasets.repair`).
- The folder's last path component is unique and the card holds a description and `dataset_info` per config, because
  `datasets` keys its cache by folder name and card text and not by the files: under a name used twice, or through a
  `latest` link, it would serve the rows of another version. `resolve` therefore returns the real folder.
- Every set has one Arrow schema, no empty shard, no column of type null (each of them breaks the loader).
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipelines.config import Settings
from pipelines.datasets.card import SPLIT, card
from pipelines.datasets.figures import draw_overview
from pipelines.datasets.manifest import RunInfo, content_digest, manifest_of
from pipelines.datasets.published import CARD, with_digest
from pipelines.datasets.repair import Found, examine, put_right
from pipelines.datasets.token_counts import SetTokens, token_counters
from pipelines.datasets.versions import (
    BUILDING,
    MANIFEST,
    DatasetStore,
    PublishedVersion,
    remove_stale,
    write_bytes,
)
from pipelines.errors import WorkspaceError
from pipelines.lake import FileEntry, Lake, stream_shards
from pipelines.redaction import redacted
from pipelines.tables import SCHEMAS, TRAINING_SETS

DIGEST_LENGTH = 12


@dataclass(frozen=True)
class WrittenSet:
    """A set that lies on disk: what `manifest_of` and `card` ask of a table, without its rows.

    `nbytes`: bytes of the rows as Arrow; `paths`: its Parquet files, in order, while the version is being built;
    `tokens`: of its texts, None where the set has none.
    """

    schema: pa.Schema
    num_rows: int
    nbytes: int
    paths: tuple[Path, ...]
    tokens: SetTokens | None = None


def publish(
    settings: Settings,
    lake: Lake,
    night: str,
    sets: Sequence[str] = TRAINING_SETS,
    run_info: RunInfo | None = None,
) -> PublishedVersion:
    """Publish one night's training sets, or return the version that already has exactly this content.

    That one is read and held against its checksums; what is damaged is put right, and logged. Versions beyond the
    `publishing.keep` newest, where that is set, are removed unless a pin names them. WorkspaceError when no set has a
    row, since a version without rows is what a failed night would look like.
    """
    manifests = {name: lake.manifest(name, night) for name in sets}
    manifests = {name: manifest for name, manifest in manifests.items() if manifest and manifest.num_rows}
    if not manifests:
        raise WorkspaceError(
            f"There is nothing to publish for {night}: the sets {', '.join(sets)} have no rows in {lake.root}."
            " Materialise the training sets of that night first."
        )
    config = settings.publishing
    store = DatasetStore(settings.datasets_url)
    folder = Path(store.folder(config.name)) if store.is_local else settings.state_dir / "publishing"
    counters = token_counters(settings, {name: manifest.num_rows for name, manifest in manifests.items()})
    with _building(folder) as building:
        written, files = {}, {}
        for name, manifest in manifests.items():
            sizes: list[int] = []
            rows = _counted(lake.stream(name, manifest), sizes)
            if name in counters:
                rows = counters[name].counted(rows)
            files[name] = stream_shards(
                building / name, SPLIT, SCHEMAS[name], rows, manifest.num_rows, config.max_shard_rows
            )
            paths = tuple(building / name / file.path for file in files[name])
            tokens = counters[name].found() if name in counters else None
            written[name] = WrittenSet(SCHEMAS[name], manifest.num_rows, sum(sizes), paths, tokens)
        digest = content_digest(written, files)
        version = f"{config.name}-{night}-{digest[:DIGEST_LENGTH]}"
        num_rows = {name: [file.num_rows for file in entries] for name, entries in files.items()}
        found = examine(store, config.name, version, digest, num_rows)
        if not found.is_whole and not found.has_its_description:
            _describe(settings, lake, night, version, digest, written, files, run_info or RunInfo(), building)
        published = _made_whole(store, building, config.name, version, found)
    store.remove_old(config.name, config.keep, just_made=version)
    return published


def _made_whole(store: DatasetStore, building: Path, name: str, version: str, found: Found) -> PublishedVersion:
    """The version as it is, put right, or as it was built, by what was found under its name."""
    if found.version is not None and found.is_whole:
        return found.version
    if found.is_there:
        put_right(store, building, name, version, found)
    return store.add(building, name, version)


def _describe(
    settings: Settings,
    lake: Lake,
    night: str,
    version: str,
    digest: str,
    written: Mapping[str, WrittenSet],
    files: Mapping[str, Sequence[FileEntry]],
    run_info: RunInfo,
    building: Path,
) -> None:
    """Writes the card, then the manifest, which knows the digests of the card and of itself."""
    described = manifest_of(settings, lake, night, version, digest, written, files, run_info)
    described["files"] = [draw_overview(lake, night, described, building)]
    text = card(described, written, settings.publishing.license).encode()
    described = with_digest(_without_credentials(described) | {"card_sha256": hashlib.sha256(text).hexdigest()})
    _write(building / CARD, text)
    _write(building / MANIFEST, json.dumps(described, indent=1, ensure_ascii=False).encode())


def _counted(rows: Iterator[pa.Table], sizes: list[int]) -> Iterator[pa.Table]:
    """The same pieces, their bytes noted."""
    for piece in rows:
        sizes.append(piece.nbytes)
        yield piece


def _without_credentials(manifest: Mapping[str, object]) -> dict[str, object]:
    """The manifest with the URLs of its configuration redacted: it travels with the data."""
    configuration = manifest["configuration"]
    paths = {key: redacted(value) for key, value in configuration["paths"].items()}
    return dict(manifest) | {"configuration": configuration | {"paths": paths}}


@contextmanager
def _building(folder: Path) -> Iterator[Path]:
    """A hidden folder, gone at the end whatever happens; leftovers of killed runs go too."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=BUILDING, dir=folder))
        building.chmod(0o755)
    except OSError as error:
        reason = error.strerror or error
        raise WorkspaceError(f"{folder} cannot be written: {reason}. It is `paths.datasets` and the name.") from error
    remove_stale(folder, (BUILDING,))
    try:
        yield building
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    try:
        write_bytes(path, data)
    except OSError as error:
        reason = error.strerror or error
        raise WorkspaceError(f"{path} could not be written: {reason}. No version was published.") from error
