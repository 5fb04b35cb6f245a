"""The Parquet files of a version's sets, wherever it lies."""

import hashlib
from pathlib import Path

import pyarrow.dataset
from fsspec import AbstractFileSystem

from pipelines.datasets.published import PublishedVersion, set_entry
from pipelines.datasets.versions import DatasetStore
from pipelines.errors import WorkspaceError
from pipelines.redaction import redacted


def located(
    version: PublishedVersion, set_name: str, store: DatasetStore | None = None
) -> tuple[AbstractFileSystem | None, list[str]]:
    """The files of one set: paths of this machine (no filesystem), or the store's own filesystem and paths on it."""
    names = [file["path"] for file in set_entry(version, set_name)["files"]]
    if isinstance(version.path, Path) or store is None:
        return None, [str(Path(version.path, name)) for name in names]
    return store.filesystem, [store.file_path(version, name) for name in names]


def arrow_rows(version: PublishedVersion, set_name: str, store: DatasetStore | None = None) -> pyarrow.dataset.Dataset:
    """The rows of one set, read when they are asked for."""
    filesystem, paths = located(version, set_name, store)
    return pyarrow.dataset.dataset(paths, format="parquet", filesystem=filesystem)


def check_files(version: PublishedVersion, set_name: str, store: DatasetStore | None = None) -> None:
    """WorkspaceError, with both checksums, where a file of the set is not the one that was published."""
    filesystem, paths = located(version, set_name, store)
    for path, file in zip(paths, set_entry(version, set_name)["files"], strict=True):
        shown = redacted(f"{version.path}/{file['path']}")
        try:
            with Path(path).open("rb") if filesystem is None else filesystem.open(path, "rb") as opened:
                found = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise WorkspaceError(
                f"{shown} cannot be read: {redacted(error.strerror or error)}. Pull the version again."
            ) from error
        check_digest(shown, found, file["sha256"])


def check_digest(shown: str, found: str, published: str) -> None:
    """WorkspaceError where a file's SHA-256 is not the one that was published."""
    if found != published:
        raise WorkspaceError(
            f"{shown} is damaged: SHA-256 {published} was published, {found} was found. Pull the version again, or"
            " publish it again where it was published."
        )
