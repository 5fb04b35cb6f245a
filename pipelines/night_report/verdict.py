"""One line above the report: was the night worth it, and what stands against it?"""

from collections.abc import Mapping
from dataclasses import dataclass

PROMOTE, HOLD, FAILED, OPEN = "promote", "hold", "failed", "open"
REASONS = {
    "first_critic": "the first critic has nobody to beat",
    "unchanged": "tonight's critic is the current one",
    "not_comparable": "there were no problems on which the two critics could be compared",
    "not_worse": "tonight's critic is not worse than the current one",
    "worse_on_evaluation": "tonight's critic ranks worse on the frozen evaluation problems",
    "worse_on_unguided": "tonight's critic ranks worse on trees that no critic guided",
    "drift": "the scores of tonight's critic are spread otherwise than the current one's",
}


@dataclass(frozen=True)
class Verdict:
    """`kind` is promote, hold, failed or open (nothing was tried yet); `text` says why in one line."""

    kind: str
    text: str


def verdict_of(trial: Mapping[str, object] | None, failure: str | None) -> Verdict:
    """The verdict of a night.

    trial: its row of the query night_trial; None where no critic was tried. failure: why the night failed; None: it did
    not.
    """
    if failure is not None:
        return Verdict(FAILED, failure)
    if trial is None:
        return Verdict(OPEN, "no critic was tried on this night, so nothing is promoted and nothing held")
    why = REASONS.get(trial["reason"], trial["reason"])
    if trial["is_promotable"]:
        return Verdict(PROMOTE, f"{why} ({_numbers(trial)})" if _numbers(trial) else why)
    return Verdict(HOLD, f"blocked by the check critic_promotions.promotable: {why} ({_numbers(trial)})")


def _numbers(trial: Mapping[str, object]) -> str:
    """What decided, beside the limits of then; a trial from before they were kept has none to show."""
    margin = "" if trial["margin"] is None else f", margin {trial['margin']:g}"
    parts = [
        f"AUROC within {label} {trial[f'{name}_difference']:+.3f}, 95 % {trial[f'{name}_low']:+.3f} to "
        f"{trial[f'{name}_high']:+.3f}{margin}"
        for name, label in (("evaluation", "frozen problems"), ("unguided", "problems of unguided trees"))
        if trial[f"{name}_difference"] is not None and trial[f"{name}_low"] is not None
    ]
    if trial["drift"] is not None:
        limit = "" if trial["max_drift"] is None else f", limit {trial['max_drift']:g}"
        parts.append(f"drift {trial['drift']:.3f}{limit}")
    return "; ".join(parts)
