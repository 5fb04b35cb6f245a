"""Copying a version out of a dataset store, file by file and checked, into a folder that any trainer reads.

    <to>/<version>/                 appears complete, by one rename, under the version's own unique name
    <to>/.pulling-<version>/        what is there so far: the next pull copies only what is missing or wrong

Invariants
- Every file is hashed while it is copied; one that is not what the manifest says never gets its name.
- The version's folder is never half filled and never written again, apart from sets that an earlier pull left out:
  their files come first, then the card, the manifest last. A file that somebody changed, the card included, is an
  error, not overwritten.
- What is pulled has the rows that the manifest counts, by the Parquet footers.
- Processes that pull the same version into the same folder at once (the ranks of a training job) wait for one another.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from pipelines.datasets.published import (
    CARD,
    CARD_HERE,
    MANIFEST,
    PULLED_SETS,
    PublishedVersion,
    VersionFile,
    card_digest,
    card_problem,
    read_version,
    set_entry,
    version_files,
)
from pipelines.datasets.versions import LATEST, DatasetStore, store_failures, write_bytes
from pipelines.errors import PartitionBusyError, WorkspaceError
from pipelines.leases import hold_lease
from pipelines.redaction import redacted

PULLING = ".pulling-"
COPIES_AT_ONCE = 4
PIECE_BYTES = 4 * 2**20
WAIT_S = 0.1

ProgressFn = Callable[[int, int, int, int], None]
"""`on_progress(done files, all files, done bytes, all bytes)`, after every file."""


@dataclass(frozen=True)
class Pulled:
    """A pulled version: `num_copied` files came now, `num_kept` were there already with the right checksum."""

    path: Path
    version: str
    num_copied: int
    num_kept: int
    num_bytes_copied: int
    warnings: tuple[str, ...]


def pull_version(
    store: DatasetStore,
    name: str,
    version: str = LATEST,
    to: Path | str = ".",
    sets: Sequence[str] = (),
    on_progress: ProgressFn | None = None,
) -> Pulled:
    """Copies a version, or some of its sets, to `<to>/<version>`; WorkspaceError names a file that is not as published.

    What an interrupted pull has copied is kept and not copied again.
    """
    folder = _folder(to)
    found = store.resolve(name, version)
    for one in sets:
        set_entry(found, one)
    partial, target = folder / f"{PULLING}{found.version}", folder / found.version
    _make(folder)
    try:
        with _alone(partial):
            return _pull(store, found, sets, partial, target, on_progress or _silent)
    except OSError as error:
        kept = next((one for one in (target, partial) if one.is_dir()), None)
        rest = f"What was copied is kept in {kept}; pull again to go on." if kept else "Nothing was copied."
        raise WorkspaceError(
            f"{error.filename or folder} could not be written: {error.strerror or error}. {rest}"
        ) from error


def _pull(
    store: DatasetStore,
    found: PublishedVersion,
    sets: Sequence[str],
    partial: Path,
    target: Path,
    on_progress: ProgressFn,
) -> Pulled:
    there = _pulled_before(target, found)
    wanted = _wanted_sets(found.manifest, sets, there)
    files = [file for file in version_files(found.manifest) if file.set_name in ("", *wanted)]
    into = target if there else partial
    kept = _kept_files(into, files, is_version=there is not None)
    missing = [file for file in files if file.path not in kept]
    card = store.read_file(found, CARD)
    problem = card_problem(found.manifest, card)
    manifest, pulled_card = _as_pulled(store, found, wanted, card)
    if there is not None:
        _check_card(there, (pulled_card, _as_pulled(store, found, _sets_of(there), card)[1]))
    _copy_all(store, found, missing, into, _Progress(on_progress, files, kept))
    _check_num_rows(into, found.manifest, wanted)
    if pulled_card is not None:
        _replace(into / CARD, pulled_card)
    _replace(into / MANIFEST, manifest)
    if there is None:
        partial.rename(target)
    size = sum(file.num_bytes for file in missing)
    return Pulled(target, found.version, len(missing), len(kept), size, (problem,) if problem else ())


def _pulled_before(target: Path, found: PublishedVersion) -> PublishedVersion | None:
    if not target.exists():
        return None
    there = read_version(target)
    if there.manifest["content_sha256"] != found.manifest["content_sha256"]:
        raise WorkspaceError(
            f"{target} has that version's name but other content ({there.manifest['content_sha256']} instead of"
            f" {found.manifest['content_sha256']}). Nothing was changed; move it away and pull again."
        )
    return there


def _wanted_sets(
    manifest: Mapping[str, object], sets: Sequence[str], there: PublishedVersion | None
) -> dict[str, None]:
    """The sets that the folder has in the end, in the manifest's order: those that it has already stay."""
    before = _sets_of(there) if there else {}
    return {name: None for name in manifest["sets"] if not sets or name in sets or name in before}


def _sets_of(pulled: PublishedVersion) -> dict[str, None]:
    return dict.fromkeys(pulled.manifest.get(PULLED_SETS, pulled.manifest["sets"]))


def _kept_files(folder: Path, files: Sequence[VersionFile], is_version: bool) -> set[str]:
    """Paths of the files that are there and right; in a complete version a wrong one is an error."""
    with ThreadPoolExecutor(COPIES_AT_ONCE) as threads:
        digests = list(threads.map(lambda file: _digest_of(folder / file.path), files))
    for file, digest in zip(files, digests, strict=True):
        if is_version and digest not in (None, file.sha256):
            raise WorkspaceError(
                f"{folder / file.path} was changed after it was pulled: SHA-256 {file.sha256} was expected, {digest}"
                f" was found. Nothing was changed; move {folder} away and pull again."
            )
    return {file.path for file, digest in zip(files, digests, strict=True) if digest == file.sha256}


def _check_card(there: PublishedVersion, pulled: Sequence[bytes | None]) -> None:
    """WorkspaceError where the folder's card is neither the one that was pulled nor one of those pulled now."""
    path = Path(there.path, CARD)
    expected, found = card_digest(there.manifest), _digest_of(path)
    if found in (None, expected) or path.read_bytes() in pulled:
        return
    raise WorkspaceError(
        f"{path} was changed after it was pulled: SHA-256 {expected or 'of the published card'} was expected, {found}"
        f" was found. Nothing was changed; keep your text under another name or move {there.path} away,"
        " and pull again."
    )


def _check_num_rows(folder: Path, manifest: Mapping[str, object], sets: Mapping[str, None]) -> None:
    """WorkspaceError where the footers of a set's files do not have the rows that the manifest counts."""
    for name in sets:
        entry, num_rows = manifest["sets"][name], 0
        for file in entry["files"]:
            try:
                num_found = pq.read_metadata(folder / file["path"]).num_rows
            except pa.ArrowInvalid as error:
                raise WorkspaceError(
                    f"{folder / file['path']} has the checksum of the manifest but is no Parquet file: {error}. Make"
                    " `published_version` of that night again where it was published."
                ) from error
            num_rows += num_found
            if num_found != file.get("num_rows", num_found):
                raise _wrong_rows(f"the file {file['path']}", file["num_rows"], num_found, manifest)
        if num_rows != entry["num_rows"]:
            raise _wrong_rows(f"the set {name!r}", entry["num_rows"], num_rows, manifest)


def _wrong_rows(what: str, expected: int, found: int, manifest: Mapping[str, object]) -> WorkspaceError:
    return WorkspaceError(
        f"The manifest of {manifest['version']} counts {expected:,} rows in {what}, but its Parquet footers {found:,}:"
        f" it was edited. Restore that manifest or make `published_version` of {manifest.get('night', 'that night')}"
        " again where it was published, then pull again."
    )


def _digest_of(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# copying ----------------------------------------------------------------------------------------


class _Progress:
    """Files and bytes done so far; told on after every file."""

    def __init__(self, on_progress: ProgressFn, files: Sequence[VersionFile], kept: set[str]):
        self._tell = on_progress
        self._done = len(kept)
        self._done_bytes = sum(file.num_bytes for file in files if file.path in kept)
        self._all, self._all_bytes = len(files), sum(file.num_bytes for file in files)
        self._tell(self._done, self._all, self._done_bytes, self._all_bytes)

    def add(self, file: VersionFile) -> None:
        self._done, self._done_bytes = self._done + 1, self._done_bytes + file.num_bytes
        self._tell(self._done, self._all, self._done_bytes, self._all_bytes)


def _copy_all(
    store: DatasetStore, found: PublishedVersion, files: Sequence[VersionFile], into: Path, progress: _Progress
) -> None:
    into.mkdir(exist_ok=True)
    with ThreadPoolExecutor(COPIES_AT_ONCE) as threads:
        copies = [(threads.submit(_copy, store, found, file, into / file.path), file) for file in files]
        try:
            for copy, file in copies:
                copy.result()
                progress.add(file)
        except BaseException:
            threads.shutdown(wait=True, cancel_futures=True)
            raise


def _copy(store: DatasetStore, found: PublishedVersion, file: VersionFile, target: Path) -> None:
    """One file, hashed on its way; it gets its name only when size and digest are right."""
    shown = redacted(f"{found.path}/{file.path}")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    try:
        digest, size = _copy_bytes(store, store.file_path(found, file.path), part, shown)
        if (digest, size) != (file.sha256, file.num_bytes):
            raise WorkspaceError(
                f"{shown} is damaged: SHA-256 {file.sha256} ({file.num_bytes:,} bytes) was published, {digest}"
                f" ({size:,} bytes) was found. Files that are right were kept. Make `published_version` of"
                f" {found.manifest.get('night', 'that night')} again where it was published, which puts damaged files"
                " right, then pull again."
            )
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _copy_bytes(store: DatasetStore, source: str, part: Path, shown: str) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    try:
        opened = store.filesystem.open(source, "rb", block_size=PIECE_BYTES, cache_type="readahead")
    except store_failures() as error:
        is_gone = isinstance(error, FileNotFoundError)
        reason = "it is in the manifest but not there" if is_gone else redacted(error)
        raise WorkspaceError(
            f"{shown} cannot be read: {reason}. If the version was removed meanwhile, pull another."
        ) from None
    with opened, part.open("wb") as target:
        while data := _read(opened, shown):
            digest.update(data)
            target.write(data)
            size += len(data)
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest(), size


def _read(opened: object, shown: str) -> bytes:
    try:
        return opened.read(PIECE_BYTES)
    except store_failures() as error:
        raise WorkspaceError(f"{shown} could not be read to its end: {redacted(error)}. Pull again to go on.") from None


# card and manifest ------------------------------------------------------------------------------


def _as_pulled(
    store: DatasetStore, found: PublishedVersion, wanted: Mapping[str, None], card: bytes | None
) -> tuple[bytes, bytes | None]:
    """Manifest and card of the pulled folder: as published, or with the sets that were left out said."""
    if len(wanted) == len(found.manifest["sets"]):
        data = store.read_file(found, MANIFEST)
        if data is None:
            raise WorkspaceError(f"{redacted(found.path)} was removed while it was pulled; pull another version.")
        return data, card
    reduced = None if card is None else card_of_sets(card.decode("utf-8", "replace"), wanted).encode()
    changes = {PULLED_SETS: list(wanted)}
    if reduced is not None and card_problem(found.manifest, card) is None and "card_sha256" in found.manifest:
        changes[CARD_HERE] = hashlib.sha256(reduced).hexdigest()
    return json.dumps({**found.manifest, **changes}, indent=1, ensure_ascii=False).encode(), reduced


def card_of_sets(card: str, sets: Mapping[str, None]) -> str:
    """The card whose YAML names only these sets, since `datasets` refuses a card that names files which are not there.

    Written for the YAML that `card` makes: every top-level list of `config_name` items keeps those of the sets.
    """
    lines = card.split("\n")
    if lines[0] != "---" or "---" not in lines[1:]:
        return card
    end = lines.index("---", 1)
    items: list[list[str]] = []
    for line in lines[1:end]:
        if line.startswith("- ") or not items or not line.startswith((" ", "- ")):
            items.append([line])
        else:
            items[-1].append(line)
    kept = [item for item in items if _config_name(item) is None or _config_name(item) in sets]
    return "\n".join(["---", *(line for item in kept for line in item), *lines[end:]])


def _config_name(item: Sequence[str]) -> str | None:
    if not item[0].startswith("- "):
        return None
    names = [line[2:].partition(":")[2].strip() for line in item if line[2:].startswith("config_name:")]
    return names[0].strip("'\"") if names else None


# folders ----------------------------------------------------------------------------------------


def _folder(to: Path | str) -> Path:
    """The whole path; WorkspaceError where it is none that Parquet readers can be given."""
    try:
        folder = Path(to).expanduser().absolute()
        str(folder).encode()
    except (UnicodeEncodeError, RuntimeError) as error:  # RuntimeError: the home of a user who is not known
        reason = "is not UTF-8 text" if isinstance(error, UnicodeEncodeError) else "starts in a home that is not known"
        raise WorkspaceError(f"The folder {ascii(str(to))} {reason}; pull into another. Nothing was copied.") from error
    return folder


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file is in its place or above it" if is_file else error.strerror or error
        raise WorkspaceError(
            f"The folder {folder} cannot be made: {reason}; pull into another. Nothing was copied."
        ) from error


@contextmanager
def _alone(partial: Path) -> Iterator[None]:
    """Waits until no other process pulls into this folder."""
    lease = partial.with_name(f"{partial.name}.lock")
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(hold_lease(LocalFileSystem(), str(lease), partial.name))
                break
            except PartitionBusyError:
                time.sleep(WAIT_S)
        yield


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    write_bytes(part, data)
    os.replace(part, path)


def _silent(*_: int) -> None:
    """Nobody watches."""
