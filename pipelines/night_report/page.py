"""A night's facts -> one self-contained HTML page: no script, no network, everything inline."""

from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from string import Template

from pipelines.config_models import NightReportConfig
from pipelines.datasets.diff import VersionDiff
from pipelines.night_report.alarms import Alarm, find_alarms
from pipelines.night_report.facts import NightFacts
from pipelines.night_report.html import share
from pipelines.night_report.material import Material
from pipelines.night_report.of_costs import sparkline
from pipelines.night_report.sections import all_sections
from pipelines.night_report.shared_words import SharedWords
from pipelines.night_report.verdict import FAILED, HOLD, OPEN, PROMOTE, Verdict, verdict_of

FOLDER = Path(__file__).parent
SIGNS = {PROMOTE: "Promote", HOLD: "Hold", FAILED: "Failed", OPEN: "Open"}
TILES = (
    ("pass1", "pass@1", True),
    ("greedy", "greedy", True),
    ("critic_auroc_frozen", "problem AUROC", False),
    ("ece", "calibration error", False),
    ("flawed_in_right_audit", "flawed of right", True),
    ("tokens_per_kept_row", "tokens per row", False),
    ("num_kept_rows", "rows for training", False),
    ("distinct_solution_share", "distinct", True),
)
"""Metric, what a reader calls it, and whether it is a share."""


def to_html(
    facts: NightFacts,
    config: NightReportConfig,
    *,
    failure: str | None = None,
    manifest: Mapping[str, object] | str | None = None,
    difference: VersionDiff | str | None = None,
    links: Mapping[str, str] | None = None,
    shared: Sequence[SharedWords] | str = (),
) -> str:
    """The report of a night.

    failure: why the night failed, None where it did not. manifest: of the night's dataset version, or why it
    cannot be read. difference: of that version from the one before, or why they could not be compared. links: tree id
    -> address of its page, relative to the report. shared: texts behind the version's contamination certificate, or why
    they are not known.
    """
    alarms = alarms_of(facts, config)
    verdict = verdict_of(next(iter(facts.rows["night_trial"]), None), failure)
    sections = all_sections(Material(facts, alarms, manifest, difference, links or {}, shared))
    return Template(_page()).substitute(
        night=escape(facts.night),
        kind=verdict.kind,
        sign=SIGNS[verdict.kind],
        verdict=escape(verdict.text),
        subtitle=escape(_subtitle(facts)),
        tiles="".join(_tile(facts, *tile) for tile in TILES if tile[0] in facts.numbers),
        alarms=_alarms(alarms, facts),
        contents="".join(f'<li><a href="#{one.key}">{escape(one.title)}</a></li>' for one in sections),
        sections="".join(
            f'<section id="{one.key}"><h2>{escape(one.title)}</h2>{one.body}</section>' for one in sections
        ),
    )


def alarms_of(facts: NightFacts, config: NightReportConfig) -> list[Alarm]:
    """Alarms of the night against the nights before it."""
    before = [facts.metrics.get(night, {}) for night in facts.nights[:-1]]
    return find_alarms(facts.numbers, before, config)


def verdict_line(verdict: Verdict) -> str:
    """The verdict as one line of plain text."""
    return f"{SIGNS[verdict.kind]}: {verdict.text}"


def _subtitle(facts: NightFacts) -> str:
    log = facts.log[-1] if facts.log and facts.log[-1]["night"] == facts.night else None
    parts = [f"night {len(facts.nights)} of the lake" if len(facts.nights) > 1 else "the first night of the lake"]
    if log is not None:
        parts.append(f"policy {log['policy_id']}")
        if log["seconds"] is not None:
            parts.append(f"{log['seconds'] / 60:.1f} minutes (all stages before this page, added up)")
    parts += [_tokens(facts)] if facts.num_tokens is not None else []
    return ", ".join(parts)


def _tokens(facts: NightFacts) -> str:
    """What all stages asked for, and what of it no engine generated tonight."""
    if facts.num_replayed is None:
        return f"{facts.num_tokens:,} tokens generated or replayed"
    if not facts.num_replayed:
        return f"{facts.num_tokens:,} tokens generated"
    generated = facts.num_tokens - facts.num_replayed
    return f"{facts.num_tokens:,} completion tokens, {generated:,} generated and {facts.num_replayed:,} replayed"


def _tile(facts: NightFacts, metric: str, name: str, is_share: bool) -> str:
    value = facts.numbers[metric]
    shown = share(value) if is_share else f"{value:,.0f}" if value.is_integer() or abs(value) >= 100 else f"{value:.3f}"
    before = facts.metrics.get(facts.previous, {}).get(metric) if facts.previous else None
    change = ""
    if before is not None:
        change = f"{100 * (value - before):+.1f}" if is_share else f"{value - before:+,.3g}"
    line = sparkline([point for _, point in facts.over_nights(metric)], 54, 18)
    return (
        f'<div class="tile"><span>{escape(name)}</span><b>{escape(shown)}</b>'
        f"<small>{escape(change)} {line}</small></div>"
    )


def _alarms(alarms: list[Alarm], facts: NightFacts) -> str:
    if alarms:
        items = "".join(f"<li>{escape(alarm.text)}</li>" for alarm in alarms)
        return f'<ul class="alarms">{items}</ul>'
    if facts.previous is None:
        return '<p class="empty">No alarms: there is no earlier night to compare with.</p>'
    return '<p class="empty">No alarms: diversity, yields, judges and lengths are as usual.</p>'


@cache
def _page() -> str:
    return (FOLDER / "page.html").read_text(encoding="utf-8")
