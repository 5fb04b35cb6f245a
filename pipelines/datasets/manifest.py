"""The manifest of a dataset version: counts, checksums, configuration, digests, and what it was made from."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from pipelines.config import Settings
from pipelines.datasets.published import sets_digest
from pipelines.lake import FileEntry, Lake
from pipelines.tables import SCHEMAS, UNPARTITIONED

SOURCE_FOLDERS = ("pipelines", "critics", "sql")


@dataclass(frozen=True)
class RunInfo:
    """What made the data, beyond what configuration and lake know."""

    code_digest: str = ""  # of the source that ran; "" = that of the source as it is now (`source_digest`)
    engine: str = ""  # name and version of the inference engine
    models: Mapping[str, str] = field(default_factory=dict)  # role (policy, process_critic) -> digest of its weights
    run_id: str = ""


def content_digest(tables: Mapping[str, pa.Table], files: Mapping[str, Sequence[FileEntry]]) -> str:
    """SHA-256 over the names, columns and file digests of the sets, in the order of their names."""
    return sets_digest({
        name: ({column.name: str(column.type) for column in table.schema}, [file.sha256 for file in files[name]])
        for name, table in tables.items()
    })  # fmt: skip


def source_digest() -> str:
    """SHA-256 over this project's Python and SQL source as it is on disk."""
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for folder in SOURCE_FOLDERS:
        for path in sorted(path for path in (root / folder).rglob("*") if path.suffix in (".py", ".sql", ".txt")):
            digest.update(f"{path.relative_to(root)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def manifest_of(
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
