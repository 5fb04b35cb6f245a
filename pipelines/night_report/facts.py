"""Everything that a night's report is made of, read once from a warehouse by named queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

import sql as queries
from pipelines.audit.audited_sample import EstimateParams, SampleParams, draw, estimate
from pipelines.config_models import NightReportConfig
from pipelines.consistency.b_star import B_STAR_SEARCH, BStarSearchParams
from pipelines.judges.position_consistency import by_judge
from pipelines.warehouse import Warehouse

Row = Mapping[str, object]
Rows = Sequence[Row]
Metrics = Mapping[str, float]

MAX_NIGHTS = 60  # of the past that figures over nights show
MIN_COMPLETIONS = 4  # below a step, for its Monte Carlo value to be compared with other opinions
NUM_DISAGREEMENTS = 10
QUERIES = (
    "night_problems", "night_flow", "filter_steps", "filter_yields", "filter_overlaps", "strategy_accuracy",
    "step_reliability", "critic_drift", "first_error_depth", "value_depth", "pass_transitions", "pass_at_k",
    "pair_lengths", "night_pair_margins", "judge_agreement", "disagreements", "token_ledger", "stage_costs",
    "set_changes", "exploration", "night_trial",
)  # fmt: skip
"""Files of sql/reports whose rows are `NightFacts.rows`."""


@dataclass(frozen=True)
class NightFacts:
    """What is known of a night.

    Attributes:
        night: the night reported on.
        nights: every night up to it, the earliest first, itself included.
        rows: query of `QUERIES` -> its rows.
        metrics: night -> metric -> value, of `nights` and of the first one that sampled the evaluation problems; a
            number that is not known is not there.
        log: rows of night_log up to this night, the earliest first.
        audit: measures of the audited sample (`audited_estimate`); empty without gold labels.
        balance: rows of B-STaR's search over thresholds; empty without scored samples.
        flips: row per judge of pairs, how it agrees with itself in both orders; empty without judgments.
    """

    night: str
    nights: tuple[str, ...]
    rows: Mapping[str, Rows]
    metrics: Mapping[str, Metrics]
    log: Rows
    audit: Rows
    balance: Rows
    flips: Rows

    @property
    def previous(self) -> str | None:
        """The night before, as far as the lake knows one."""
        return self.nights[-2] if len(self.nights) > 1 else None

    @property
    def numbers(self) -> Metrics:
        """The night's own numbers."""
        return self.metrics.get(self.night, {})

    @property
    def num_tokens(self) -> int | None:
        """Completion tokens of all stages, replayed answers counted; None where nothing tells."""
        return tokens_asked(self.rows["token_ledger"])

    @property
    def num_replayed(self) -> int | None:
        """Of these, the tokens that no engine generated tonight; None where stages did not record it."""
        if not self.rows["stage_costs"]:
            return None
        return -sum(row["completion_tokens"] for row in self.rows["token_ledger"] if row["kind"] == "replayed")

    def over_nights(self, metric: str) -> list[tuple[str, float]]:
        """(night, value) of a metric where it is known."""
        return [(night, of[metric]) for night in self.nights if metric in (of := self.metrics.get(night, {}))]


def read_facts(warehouse: Warehouse, night: str, config: NightReportConfig) -> NightFacts:
    """Everything that is known of a night."""
    nights = nights_until(warehouse, night)
    given = {
        "night": night, "previous": nights[-2] if len(nights) > 1 else None, "num_rows": NUM_DISAGREEMENTS,
        "min_completions": MIN_COMPLETIONS,
    }  # fmt: skip
    rows = {name: _ask(warehouse, name, given) for name in QUERIES}
    log = [row for row in _ask(warehouse, "night_log_rows", {}) if row["night"] <= night]
    audit = audited(warehouse, night, config)
    metrics = recorded_metrics(warehouse, (*nights, *policy_nights(rows["pass_at_k"], night)))
    metrics[night] = numbers_of(warehouse, night, audit)
    for known in (*nights, *policy_nights(rows["pass_at_k"], night)):
        if known not in metrics:  # a night from before its numbers were recorded
            metrics[known] = numbers_of(warehouse, known, audited(warehouse, known, config))
    balance, flips = balance_of(warehouse, night), flips_of(warehouse, night)
    return NightFacts(night, nights, rows, metrics, log, audit, balance, flips)


def policy_nights(pass_at_k: Rows, night: str) -> tuple[str, ...]:
    """The night of the shipped policy, which stays known however many nights have come since; empty without one."""
    return (pass_at_k[0]["night"],) if pass_at_k and pass_at_k[0]["night"] <= night else ()


def tokens_asked(ledger: Rows) -> int | None:
    """Completion tokens of a token ledger, replayed answers counted; None where it tells none."""
    known = [row["completion_tokens"] for row in ledger if row["kind"] != "replayed"]
    known = [tokens for tokens in known if tokens is not None]
    return sum(known) if known else None


def nights_until(warehouse: Warehouse, night: str) -> tuple[str, ...]:
    """The last nights with rollouts up to this one, itself included, the earliest first."""
    found = {row["night"] for row in _ask(warehouse, "night_list", {}) if row["night"] <= night} | {night}
    return tuple(sorted(found)[-MAX_NIGHTS:])


def recorded_metrics(warehouse: Warehouse, nights: Sequence[str]) -> dict[str, dict[str, float]]:
    """Night -> metric -> value of night_metrics."""
    metrics: dict[str, dict[str, float]] = {}
    for row in _ask(warehouse, "metrics_over_nights", {}):
        if row["night"] in nights:
            metrics.setdefault(row["night"], {})[row["metric"]] = row["value"]
    return metrics


def numbers_of(warehouse: Warehouse, night: str, audit: Rows) -> dict[str, float]:
    """Metric -> value of a night; `flawed_in_right_audit` comes from the audited sample."""
    numbers = {row["metric"]: row["value"] for row in _ask(warehouse, "night_numbers", {"night": night})}
    flawless = [row["doubly_robust"] for row in audit if row["measure"] == "right"]
    numbers |= {"flawed_in_right_audit": 1.0 - flawless[0]} if flawless and flawless[0] is not None else {}
    flips = [row["inconsistency"] for row in flips_of(warehouse, night) if row["inconsistency"] is not None]
    return numbers | ({"position_inconsistency": flips[0]} if flips else {})


def audited(warehouse: Warehouse, night: str, config: NightReportConfig) -> Rows:
    """The audited sample of right answers: the critic's labels of all, gold labels of a few drawn ones, corrected.

    Gold labels are people's reviews and, of problems whose generator knows every step's label, the generator's
    (`audited_by`). `num_by_people` is how many of the drawn ones people labelled. Empty where no answer was right, or a
    drawn one has no gold label yet.
    """
    drawn = audit_sample(warehouse, night, config)
    is_drawn = drawn["is_sampled"]
    if drawn.num_rows == 0 or drawn.filter(is_drawn)["gold_label"].null_count:
        return []
    gold = pc.if_else(is_drawn, drawn["gold_label"], pa.scalar(None, pa.float64()))
    table = drawn.set_column(drawn.schema.get_field_index("gold_label"), "gold_label", gold)
    num_by_people = pc.sum(pc.and_(is_drawn, drawn["is_reviewed"])).as_py()
    return [row | {"num_by_people": num_by_people} for row in estimate(table, EstimateParams()).to_pylist()]


def audit_sample(warehouse: Warehouse, night: str, config: NightReportConfig) -> pa.Table:
    """Every right answer of a night with what critic, people and generator say of it, and whether it was drawn."""
    labels = warehouse.named(
        "reports/audit_labels", night=night, by_people=config.audited_by != "generator",
        by_generator=config.audited_by != "people",
    )  # fmt: skip
    position = pa.array(range(labels.num_rows), pa.int64())
    lot = draw(labels.append_column("position", position), SampleParams(num_samples=config.num_audited))
    for name in ("stratum", "inclusion_probability", "is_sampled"):
        labels = labels.append_column(name, lot[name])
    return labels


def balance_of(warehouse: Warehouse, night: str) -> Rows:
    """B-STaR's query effect of the night's samples at every threshold from 0 to 1.2, all samples of a problem taken."""
    pool = warehouse.named("reports/pool_of_samples", night=night)
    if pool.num_rows == 0 or pool["step_values"].null_count == pool.num_rows:
        return []
    counts = pool["problem_id"].value_counts().field("counts").to_pylist()
    params = BStarSearchParams(
        sample_counts=(max(counts),), min_threshold=0.0, max_threshold=1.2, threshold_step=0.1, by_all=True
    )
    return B_STAR_SEARCH.run(pool, params).to_pylist()


def flips_of(warehouse: Warehouse, night: str) -> Rows:
    """Per judge: pairs judged in both orders, how often it said the same, and how often it chose the chosen side."""
    judgments = warehouse.named("reports/pair_judgments", night=night)
    preferred = {row["judge"]: row["chosen_share"] for row in _ask(warehouse, "preferred_sides", {"night": night})}
    return [row | {"chosen_share": preferred.get(row["judge"])} for row in by_judge(judgments)]


def _ask(warehouse: Warehouse, name: str, given: Mapping[str, object]) -> Rows:
    full = f"reports/{name}"
    return warehouse.named(full, **{key: given[key] for key in queries.read(full).params}).to_pylist()
