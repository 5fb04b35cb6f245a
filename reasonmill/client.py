"""The light client: pull, open and stream published datasets, and read the tables of a workspace.

    from reasonmill import client
    folder = client.pull("reasoning", "prod", to="data", source="s3://bucket/datasets")   # checked, resumable
    rows = client.open(folder, "sft")                             # pyarrow dataset, memory-mapped; or duckdb, polars
    dataset = client.load(folder, "sft")                          # datasets.Dataset, never from a stale cache
    for batch in (batches := client.batches(folder, "sft", 64, seed=0, state=saved)):
        saved = batches.state()                                   # JSON: goes on after exactly this batch

    client.scan("rollouts").filter(polars.col("outcome_reward") == 1).collect()
    client.query("select family, count(*) from rollouts join problems using (problem_id) group by family")

Datasets need pyarrow and fsspec only (`s3://` needs s3fs as well); polars, DuckDB, `datasets` and the configuration of
a workspace are loaded when they are asked for. `scan` and `query` read a workspace and need its whole environment.
"""

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs

from pipelines.datasets.published import MANIFEST, PublishedVersion, read_version, set_entry
from pipelines.datasets.pull import ProgressFn, pull_version
from pipelines.datasets.reading import Batches, Order, check_readable
from pipelines.datasets.versions import LATEST, DatasetStore, split_spec
from pipelines.errors import WorkspaceError
from pipelines.redaction import redacted

if TYPE_CHECKING:
    import datasets
    import duckdb
    import polars

    from pipelines.lake import Lake

SOURCE_VARIABLE = "REASONMILL_DATASETS"

Opened = "pyarrow.dataset.Dataset | duckdb.DuckDBPyRelation | polars.LazyFrame"


def pull(
    name: str,
    version: str = LATEST,
    *,
    to: str | Path,
    source: str | Path | None = None,
    sets: Sequence[str] = (),
    on_progress: ProgressFn | None = None,
) -> Path:
    """Copies a version, every file checked, to the folder `<to>/<version>` and returns it; see `pull_version`.

    `version`: a version, its start, a pin or `latest`; `source`: folder or URL of the datasets, None means
    `$REASONMILL_DATASETS`, then the workspace's. A card that was edited by hand is a warning.
    """
    import warnings

    pulled = pull_version(_store(source), name, version, to, sets, on_progress)
    for warning in pulled.warnings:
        warnings.warn(warning, stacklevel=2)
    return pulled.path


def open(
    name_or_path: str | Path,
    set_name: str,
    format: Literal["arrow", "duckdb", "polars"] = "arrow",
    source: str | Path | None = None,
) -> Opened:
    """A set without copying it: a pyarrow dataset over memory-mapped files, a DuckDB relation or a polars LazyFrame.

    `name_or_path`: a pulled folder, or `name@version` in `source`, which is then read where it lies. WorkspaceError
    where a file is missing or cut short, or the format's package is not installed.
    """
    if format not in OPENERS:
        raise WorkspaceError(f"format is {format!r}, but must be one of {', '.join(OPENERS)}.")
    filesystem, paths, found = _files(name_or_path, set_name, source)
    _check(filesystem, paths, found, set_name)
    return OPENERS[format](filesystem, paths)


def load(
    name_or_path: str | Path, set_name: str, source: str | Path | None = None, cache_dir: str | None = None
) -> "datasets.Dataset":
    """A set of a folder through `datasets.load_dataset`: by its files, whose changes its cache notices."""
    library = _imported("datasets", "load")
    filesystem, paths, found = _files(name_or_path, set_name, source)
    if not isinstance(filesystem, pyarrow.fs.LocalFileSystem):
        raise WorkspaceError(f"{redacted(found.path)} is not on this machine; pull it first, then load that folder.")
    _check(filesystem, paths, found, set_name)
    try:
        return library.load_dataset("parquet", data_files={"train": paths}, split="train", cache_dir=cache_dir)
    except library.exceptions.DatasetGenerationError as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise WorkspaceError(
            f"The set {set_name!r} of {found.path} cannot be read: {reason}. Pull the version again."
        ) from error


def batches(
    name_or_path: str | Path,
    set_name: str,
    batch_size: int,
    *,
    seed: int | None = None,
    num_epochs: int | None = 1,
    rank: int = 0,
    world_size: int = 1,
    is_even: bool = False,
    columns: Sequence[str] | None = None,
    state: Mapping[str, object] | None = None,
    source: str | Path | None = None,
) -> Batches:
    """An iterator over pyarrow tables of `batch_size` rows, whose `state()` another process goes on from.

    `seed` shuffles (None: as published); `num_epochs` None never ends; rows are shared among `world_size` ranks,
    with as many rows for each where `is_even`. The order is told in `pipelines.datasets.reading`.
    """
    filesystem, paths, found = _files(name_or_path, set_name, source)
    _check(filesystem, paths, found, set_name)
    order = Order(seed, num_epochs, rank, world_size, is_even)
    digest = str(found.manifest["content_sha256"])
    return Batches(filesystem, paths, digest, set_name, order, batch_size, columns, state)


def _check(filesystem: pyarrow.fs.FileSystem, paths: list[str], found: PublishedVersion, set_name: str) -> None:
    check_readable(filesystem, paths, set_entry(found, set_name)["files"])


def _imported(package: str, what: str) -> ModuleType:
    """A package that the light client does not bring; WorkspaceError where it is not installed."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise WorkspaceError(
            f"{what} needs the package {error.name}, which is not installed here: `pip install {package}`."
        ) from error


def _store(source: str | Path | None) -> DatasetStore:
    named = source or os.environ.get(SOURCE_VARIABLE)
    if named:
        return DatasetStore(named)
    try:
        from pipelines.config import load_settings
    except ImportError as error:
        raise WorkspaceError(
            f'Say where the datasets are: source="s3://bucket/datasets" or a folder, or set {SOURCE_VARIABLE}.'
        ) from error
    return DatasetStore(load_settings().datasets_url)


def _files(
    name_or_path: str | Path, set_name: str, source: str | Path | None
) -> tuple[pyarrow.fs.FileSystem, list[str], PublishedVersion]:
    """The filesystem, the paths of the set's files on it, and the version."""
    if "://" in str(name_or_path):
        raise WorkspaceError(f"{redacted(name_or_path)} is a URL; give the name of a dataset, and the URL as source=.")
    is_name = isinstance(name_or_path, str) and "/" not in name_or_path and not Path(name_or_path, MANIFEST).is_file()
    if not is_name:
        found = read_version(name_or_path)
        paths = [str(Path(found.path, file["path"])) for file in set_entry(found, set_name)["files"]]
        return pyarrow.fs.LocalFileSystem(use_mmap=True), paths, found
    store = _store(source)
    found = store.resolve(*split_spec(str(name_or_path)))
    paths = [store.file_path(found, file["path"]) for file in set_entry(found, set_name)["files"]]
    if store.is_local:
        return pyarrow.fs.LocalFileSystem(use_mmap=True), paths, found
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(store.filesystem)), paths, found


def _as_arrow(filesystem: pyarrow.fs.FileSystem, paths: list[str]) -> pyarrow.dataset.Dataset:
    return pyarrow.dataset.dataset(paths, format="parquet", filesystem=filesystem)


def _as_duckdb(filesystem: pyarrow.fs.FileSystem, paths: list[str]) -> "duckdb.DuckDBPyRelation":
    duckdb = _imported("duckdb", 'format="duckdb"')
    connection = duckdb.connect()  # lives as long as the relation
    if isinstance(filesystem, pyarrow.fs.LocalFileSystem):
        return connection.read_parquet(paths)
    return connection.from_arrow(_as_arrow(filesystem, paths))


def _as_polars(filesystem: pyarrow.fs.FileSystem, paths: list[str]) -> "polars.LazyFrame":
    polars = _imported("polars", 'format="polars"')
    if isinstance(filesystem, pyarrow.fs.LocalFileSystem):
        return polars.scan_parquet(paths, glob=False)
    return polars.scan_pyarrow_dataset(_as_arrow(filesystem, paths))


OPENERS = {"arrow": _as_arrow, "duckdb": _as_duckdb, "polars": _as_polars}


# tables of a workspace --------------------------------------------------------------------------


def scan(table: str, workspace: str | Path | None = None) -> "polars.LazyFrame":
    """A table as a polars LazyFrame with its declared columns, also while it has no rows.

    `workspace` is the workspace folder or its `reasonmill.toml`; None looks for it as the command line does.
    Raises LakeError, with near names, where there is no such table.
    """
    with _whole_environment():
        return open_lake(workspace).scan(table)


def query(sql: str, /, workspace: str | Path | None = None, **params: object) -> "pa.Table":
    """The rows of one DuckDB query over all tables; `params` fill `$name` in it. Raises QueryError for bad SQL."""
    with _whole_environment():
        from pipelines.warehouse import Warehouse

    with Warehouse(open_lake(workspace)) as warehouse:
        return warehouse.query(sql, **params)


def open_lake(workspace: str | Path | None = None) -> "Lake":
    """The lake of a workspace; ConfigError where its configuration cannot be read."""
    with _whole_environment():
        from pipelines.config import CONFIG_NAME, Settings, load_settings
        from pipelines.lake import Lake

    path = Path(workspace).expanduser() if workspace is not None else None
    if path is not None and path.is_dir():
        defaults = Settings(root=path.absolute())
        if not (path / CONFIG_NAME).is_file() and Path(defaults.lake_url).is_dir():
            return Lake(defaults.lake_url)  # a workspace that was made without a file of its own
        path = path / CONFIG_NAME
    return Lake(load_settings(path).lake_url)


@contextmanager
def _whole_environment() -> Iterator[None]:
    """A package that is missing as an explained error: the light client alone reads no workspace."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise WorkspaceError(
            f"Reading the tables of a workspace needs the package {error.name}, which is not installed here: this is"
            " the light client, for datasets. Use the project's own environment, as `make install` makes it."
        ) from error
