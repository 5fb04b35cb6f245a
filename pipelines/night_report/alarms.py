"""What has changed so much since earlier nights that somebody should look at it.

An alarm compares a number of tonight with the median of the nights before it (at most `alarm_nights`); with no earlier
night, or an unknown number, nothing is compared and nothing is alarmed. Limits are inclusive: a number that is exactly
at its limit is no alarm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pipelines.config_models import NightReportConfig

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Alarm:
    """One finding.

    Attributes:
        name: stable snake_case word: diversity_collapse, yield_drop, judge_drift, length_growth.
        metric: the number that moved.
        value, usual: tonight's, and the median of the nights before.
        limit: what tonight's was allowed to be.
    """

    name: str
    metric: str
    value: float
    usual: float
    limit: float

    @property
    def text(self) -> str:
        """One sentence for people."""
        name = self.name.replace("_", " ")
        return f"{name}: {self.metric} is {self.value:.3g}, usually {self.usual:.3g}, limit {self.limit:.3g}"


def find_alarms(tonight: Metrics, before: Sequence[Metrics], config: NightReportConfig) -> list[Alarm]:
    """Alarms of a night, given its numbers and those of the nights before it, the latest last."""
    window = before[-config.alarm_nights :]
    yields = sorted(name for name in tonight if name.startswith("yield_"))
    checks = [
        _below("diversity_collapse", "distinct_solution_share", 1.0 - config.max_diversity_drop),
        *(_below("yield_drop", name, 1.0 - config.max_yield_drop) for name in yields),
        _above("yield_drop", "tokens_per_kept_row", 1.0 / (1.0 - config.max_yield_drop)),
        _apart("judge_drift", "judge_bias", config.max_judge_drift),
        _apart("judge_drift", "position_inconsistency", config.max_judge_drift),
        _above("length_growth", "length_p50", 1.0 + config.max_length_growth),
        _above("length_growth", "length_p95", 1.0 + config.max_length_growth),
    ]
    found = [check(tonight, window) for check in checks]
    return [alarm for alarm in found if alarm is not None]


Check = Callable[[Metrics, Sequence[Metrics]], Alarm | None]


def _usual(metric: str, window: Sequence[Metrics]) -> float | None:
    known = [of[metric] for of in window if metric in of]
    return median(known) if known else None


def _check(name: str, metric: str, limit_of: Callable[[float], float], is_bad: Callable[[float, float], bool]) -> Check:
    def check(tonight: Metrics, window: Sequence[Metrics]) -> Alarm | None:
        usual = _usual(metric, window)
        if usual is None or metric not in tonight:
            return None
        limit = limit_of(usual)
        return Alarm(name, metric, tonight[metric], usual, limit) if is_bad(tonight[metric], limit) else None

    return check


def _below(name: str, metric: str, factor: float) -> Check:
    return _check(name, metric, lambda usual: factor * usual, lambda value, limit: value < limit - 1e-12)


def _above(name: str, metric: str, factor: float) -> Check:
    return _check(name, metric, lambda usual: factor * usual, lambda value, limit: value > limit + 1e-12)


def _apart(name: str, metric: str, distance: float) -> Check:
    """Tonight's number further than `distance` from the usual one; the limit is the nearer end of what is allowed."""

    def check(tonight: Metrics, window: Sequence[Metrics]) -> Alarm | None:
        usual = _usual(metric, window)
        if usual is None or metric not in tonight or abs(tonight[metric] - usual) <= distance + 1e-12:
            return None
        limit = usual + distance if tonight[metric] > usual else usual - distance
        return Alarm(name, metric, tonight[metric], usual, limit)

    return check
