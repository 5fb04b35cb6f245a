"""The Parquet files of a version's sets, wherever it lies."""

from pathlib import Path

import pyarrow.dataset
from fsspec import AbstractFileSystem

from pipelines.datasets.published import PublishedVersion, set_entry
from pipelines.datasets.versions import DatasetStore


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
