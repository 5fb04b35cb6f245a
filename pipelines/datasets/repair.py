"""Publishing a version again that is damaged: what is not as it was published, and how it is put right.

The sets are made again anyway, and the version's name is the digest of their files: so a damaged shard is replaced by
the very bytes that its manifest names, and manifest, card and times stay. Where the manifest, a picture or the card is
lost, the version is described anew, as publishing it for the first time does.

Invariants
- A file that is right is not touched. Each other one is replaced whole, by one rename, or one put on an object store,
  the manifest last: a repair that dies leaves the version no worse, and the next one goes on.
- Pins and pulled copies of the version stay right, since its sets are the same by their digests.
- A card that somebody edited is no damage: it stays while the manifest does.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.datasets.published import (
    CARD,
    MANIFEST,
    DamagedManifestError,
    PublishedVersion,
    VersionFile,
    read_version,
    version_files,
)
from pipelines.datasets.versions import DatasetStore
from pipelines.errors import WorkspaceError
from pipelines.redaction import redacted

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """What lies under the name of a version that is published again.

    Attributes:
        version: None where there is none, or its manifest cannot be used.
        wrong: path in its folder -> what is wrong with that file.
        has_its_description: manifest, card and pictures are there and right.
    """

    version: PublishedVersion | None
    wrong: Mapping[str, str]
    has_its_description: bool

    @property
    def is_there(self) -> bool:
        return self.version is not None or bool(self.wrong)

    @property
    def is_whole(self) -> bool:
        return self.version is not None and not self.wrong


def examine(
    store: DatasetStore, name: str, version: str, content_sha256: str, num_rows: Mapping[str, Sequence[int]]
) -> Found:
    """Reads the version of that name, if there is one, and holds every file against its checksum.

    content_sha256, num_rows: of what is published, rows by set and file; a manifest that says other ones was edited.
    """
    try:
        found = store.find(name, version)
    except DamagedManifestError as error:
        return Found(None, {MANIFEST: error.reason}, False)
    if found is None:
        return Found(None, {}, False)
    if found.manifest["content_sha256"] != content_sha256:
        reason = f"it says content_sha256 {found.manifest['content_sha256']}, but {content_sha256} has this name"
        return Found(None, {MANIFEST: reason}, False)
    for set_name, entry in found.manifest["sets"].items():
        told = [file.get("num_rows") for file in entry["files"]]
        if entry["num_rows"] != sum(num_rows[set_name]) or told not in (list(num_rows[set_name]), [None] * len(told)):
            return Found(None, {MANIFEST: f"it counts other rows in the set {set_name!r} than were published"}, False)
    files = version_files(found.manifest)
    wrong = wrong_files(store, name, version, files)
    if "card_sha256" in found.manifest and store.read_file(found, CARD) is None:
        wrong[CARD] = "it is not there"
    return Found(found, wrong, wrong.keys() <= {file.path for file in files if file.set_name})


def put_right(store: DatasetStore, building: Path, name: str, version: str, found: Found) -> None:
    """Replaces what is wrong by the files of `building`, which has the sets and, where it is needed, a description."""
    paths = [*found.wrong]
    if not found.has_its_description:
        files = version_files(read_version(building).manifest)
        paths = [*wrong_files(store, name, version, files), CARD, MANIFEST]
    store.put_right(building, name, version, paths)
    reasons = "; ".join(f"{path}: {reason}" for path, reason in found.wrong.items())
    logger.warning("%s was damaged and has been put right (%s): %s", version, ", ".join(paths), reasons)


def wrong_files(store: DatasetStore, name: str, version: str, files: Sequence[VersionFile]) -> dict[str, str]:
    """Path -> what is wrong, of the files of a version's folder that are not these; WorkspaceError if one is shut."""
    folder = f"{store.folder(name)}/{version}"
    store.filesystem.invalidate_cache()
    reasons = {file.path: _problem(store, f"{folder}/{file.path}", file) for file in files}
    return {path: reason for path, reason in reasons.items() if reason is not None}


def _problem(store: DatasetStore, path: str, file: VersionFile) -> str | None:
    try:
        size = store.filesystem.size(path)
        if size != file.num_bytes:
            return f"{file.num_bytes:,} bytes were published, {size or 0:,} were found"
        with store.filesystem.open(path, "rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return "it is not there"
    except OSError as error:
        if store.is_local and not isinstance(error, PermissionError):  # such as a bad sector of the disk
            return f"it cannot be read: {error.strerror or error}"
        raise WorkspaceError(f"{redacted(path)} cannot be read: {redacted(error.strerror or error)}.") from None
    return None if digest == file.sha256 else f"SHA-256 {file.sha256} was published, {digest} was found"
