"""The light client: read the tables of a workspace from a notebook or a training job.

    from reasonmill.client import query, scan
    scan("rollouts").filter(polars.col("outcome_reward") == 1).collect()
    query("select family, avg(outcome_reward) from rollouts join problems using (problem_id) group by family")

Importing this module imports nothing heavy; polars, DuckDB and the configuration are loaded when they are needed.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars
    import pyarrow as pa

    from pipelines.lake import Lake


def scan(table: str, workspace: str | Path | None = None) -> "polars.LazyFrame":
    """A table as a polars LazyFrame with its declared columns, also while it has no rows.

    `workspace` is the workspace folder or its `reasonmill.toml`; None looks for it as the command line does.
    Raises LakeError, with near names, where there is no such table.
    """
    return open_lake(workspace).scan(table)


def query(sql: str, /, workspace: str | Path | None = None, **params: object) -> "pa.Table":
    """The rows of one DuckDB query over all tables; `params` fill `$name` in it. Raises QueryError for bad SQL."""
    from pipelines.warehouse import Warehouse

    with Warehouse(open_lake(workspace)) as warehouse:
        return warehouse.query(sql, **params)


def open_lake(workspace: str | Path | None = None) -> "Lake":
    """The lake of a workspace; ConfigError where its configuration cannot be read."""
    from pipelines.config import CONFIG_NAME, Settings, load_settings
    from pipelines.lake import Lake

    path = Path(workspace).expanduser() if workspace is not None else None
    if path is not None and path.is_dir():
        defaults = Settings(root=path.absolute())
        if not (path / CONFIG_NAME).is_file() and Path(defaults.lake_url).is_dir():
            return Lake(defaults.lake_url)  # a workspace that was made without a file of its own
        path = path / CONFIG_NAME
    return Lake(load_settings(path).lake_url)
