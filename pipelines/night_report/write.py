"""From the lake to the files of a night's report: its numbers, its row of the log, and the page."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from pipelines.config import Settings
from pipelines.datasets.diff import VersionDiff, diff_versions
from pipelines.datasets.manifest import source_digest
from pipelines.datasets.versions import DatasetStore, PublishedVersion
from pipelines.errors import LakeError, ReasonmillError
from pipelines.lake import Lake, rows_to_table
from pipelines.night_report.alerts import read_alert
from pipelines.night_report.facts import NightFacts, audited, numbers_of, read_facts, tokens_asked
from pipelines.night_report.log import flat_config
from pipelines.night_report.page import to_html
from pipelines.night_report.shared_words import SharedWords, shared_words
from pipelines.night_report.verdict import HOLD, PROMOTE
from pipelines.redaction import redacted
from pipelines.tables import SCHEMAS
from pipelines.trees.find import find_tree, load_view, write_page
from pipelines.warehouse import Warehouse

FILE = "night.html"
LEDGER_TABLES = (
    "token_usage", "rollouts", "critiques", "refinements", "evaluation_rollouts", "policy_report", "step_scores",
    "stage_usage",
)  # fmt: skip
"""What the query token_ledger reads."""
Version = PublishedVersion | str | None
"""A dataset version; a sentence where there is one that cannot be read, None where there is none."""


def report_path(settings: Settings, night: str) -> Path:
    """Where the page of a night lies."""
    return settings.state_dir / "reports" / night / FILE


def metrics_rows(warehouse: Warehouse, settings: Settings, night: str) -> pa.Table:
    """night_metrics of a night."""
    numbers = numbers_of(warehouse, night, audited(warehouse, night, settings.night_report))
    rows = [{"metric": name, "value": value, "night": night} for name, value in sorted(numbers.items())]
    return rows_to_table("night_metrics", rows)


def log_rows(settings: Settings, lake: Lake, night: str) -> pa.Table:
    """night_log of a night: what made it, as the lake knows it."""
    rollouts = lake.read("rollouts", night, columns=["policy_id", "policy_version"])
    manifest = lake.manifest("rollouts", night)
    lineage: Mapping[str, str] = manifest.lineage if manifest else {}
    guides = [name.removeprefix("critics/") for name in lineage if name.startswith("critics/")]
    full = [row for row in lake.read("critics", night).to_pylist() if row["fold"] is None]
    trial = lake.read("critic_trials", night).to_pylist()
    seconds = [row["seconds"] for row in lake.read("stage_usage", night).to_pylist() if row["seconds"] is not None]
    version, _ = versions_around(settings, night)
    row = {
        "verdict": (PROMOTE if trial[0]["is_promotable"] else HOLD) if trial else None,
        "reason": trial[0]["reason"] if trial else None,
        "policy_id": "+".join(sorted(rollouts["policy_id"].unique().drop_null().to_pylist())) or settings.policy.model,
        "policy_version": "+".join(sorted(rollouts["policy_version"].unique().drop_null().to_pylist())) or None,
        "critic_id": full[0]["critic_id"] if full else None,
        "guide_night": guides[0] if guides else None,
        "engine": lineage.get("engine"),
        "code_digest": source_digest(),
        "config": redacted(json.dumps(flat_config(settings.model_dump(mode="json", exclude={"root"})), sort_keys=True)),
        "dataset_version": version.version if isinstance(version, PublishedVersion) else None,
        "generations": json.dumps(generations(lake, night)),
        "seconds": sum(seconds) if seconds else None,
        "num_tokens": generated_tokens(lake, night),
        "reported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "night": night,
    }
    return rows_to_table("night_log", [row])


def generations(lake: Lake, night: str) -> dict[str, str]:
    """Table -> generation of the night."""
    found = {table: lake.generation(table, night) for table in SCHEMAS}
    return {table: generation for table, generation in found.items() if generation is not None}


def generated_tokens(lake: Lake, night: str) -> int | None:
    """Completion tokens of all stages, replayed answers counted; None where none are recorded."""
    with Warehouse(lake, tables=LEDGER_TABLES) as warehouse:
        return tokens_asked(warehouse.named("reports/token_ledger", night=night).to_pylist())


def versions_around(settings: Settings, night: str) -> tuple[Version, Version]:
    """The latest dataset version of a night, and that of the nights before it.

    None where there is none, a sentence where it cannot be read: a damaged version must not take the report away.
    """
    name = settings.publishing.name
    try:
        found = DatasetStore(settings.datasets_url).listing(name)
    except ReasonmillError as error:
        reason = redacted(str(error))
        return reason, reason
    nights = [(str(one.manifest.get("night", "")), one) for one in found.versions]  # in the order of nights and times
    tonight = [one for of, one in nights if of == night]
    earlier = [one for of, one in nights if of < night]
    start = f"{name}-{night}"
    damaged = [redacted(reason) for folder, reason in sorted(found.damaged.items()) if folder.startswith(start)]
    damaged_before = [redacted(reason) for folder, reason in sorted(found.damaged.items()) if folder < start]
    return (tonight or damaged or [None])[-1], (earlier or damaged_before or [None])[-1]


def difference(before: Version, version: Version, store: DatasetStore) -> VersionDiff | str | None:
    """How the night's dataset version differs from the one before, or why they could not be compared."""
    for one in (version, before):
        if not isinstance(one, PublishedVersion):
            return one
    try:
        return diff_versions(before, version, store=store)
    except ReasonmillError as error:
        return redacted(str(error))


def shared_texts(
    settings: Settings, warehouse: Warehouse, night: str, manifest: Mapping[str, object] | None
) -> Sequence[SharedWords] | str:
    """What the version's certificate counts as sharing words, or why it could not be looked up."""
    try:
        return shared_words(settings, warehouse, night, manifest)
    except ReasonmillError as error:
        return redacted(str(error))


def write_report(settings: Settings, lake: Lake, night: str, *, is_under_way: bool = False) -> tuple[Path, NightFacts]:
    """Writes the page of a night from what the lake holds, whatever of it there is; LakeError where that fails.

    is_under_way: the night itself writes its page; an alert of an earlier try tells nothing of it.
    """
    path = report_path(settings, night)
    with Warehouse(lake) as warehouse:
        facts = read_facts(warehouse, night, settings.night_report)
        links = tree_links(warehouse, facts, path.parent)
        version, before = versions_around(settings, night)
        manifest = version.manifest if isinstance(version, PublishedVersion) else None
        shared = shared_texts(settings, warehouse, night, manifest)
    alert = None if is_under_way else read_alert(settings.state_dir, night)
    html = to_html(
        facts, settings.night_report,
        failure=alert.reason if alert else None,
        manifest=manifest or version,
        difference=difference(before, version, DatasetStore(settings.datasets_url)),
        links=links,
        shared=shared,
    )  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise LakeError(f"The report {path} could not be written: {error.strerror or error}.") from error
    return path.absolute(), facts


def tree_links(warehouse: Warehouse, facts: NightFacts, folder: Path) -> dict[str, str]:
    """Pages of the trees that the disagreements name, written beside the report: tree id -> address."""
    links: dict[str, str] = {}
    for tree_id in {row["tree_id"] for row in facts.rows["disagreements"] if row["tree_id"] is not None}:
        view = load_view(warehouse, find_tree(warehouse, tree_id, facts.night))
        links[tree_id] = f"trees/{write_page(view, folder / 'trees' / f'{tree_id}.html').name}"
    return links
