"""Which step scores a filter may look at: one source, one scorer version."""

from pipelines.errors import ConfigError, ReasonmillError
from pipelines.warehouse import Rows, Warehouse

LATEST = "latest"
MONTE_CARLO = "monte_carlo"


def scorer_version(step_scores: Rows, source: str, version: str = LATEST) -> str | None:
    """The version to use: `version` itself, or with "latest" the one that scored in the latest night.

    None when there are no scores of `source` (and `version`). Raises ConfigError for `monte_carlo`, and where
    "latest" is not one version: scores of two scorers are not comparable.
    """
    if source == MONTE_CARLO:
        raise ConfigError(
            'consistency.source is "monte_carlo", but Monte Carlo step values are made from the outcomes of the same '
            "rollouts, so they always agree with the outcome and cannot test it; use critic, judge or formal."
        )
    scorers = [row for row in _scorers(step_scores) if row["source"] == source]
    nights_of = {row["scorer_version"]: row["night"] or "" for row in scorers}
    if version != LATEST:
        return version if version in nights_of else None
    if not nights_of:
        return None
    newest = max(nights_of.values())
    versions = sorted(name for name, night in nights_of.items() if night == newest)
    if len(versions) > 1:
        raise ConfigError(
            f'step_scores of source "{source}" hold {len(versions)} scorer versions in the latest night '
            f'({", ".join(versions[:5])}), so that "latest" names none; name one in consistency.scorer_version.'
        )
    return versions[0]


def required_scorer_version(step_scores: Rows, source: str, version: str = LATEST) -> str:
    """`scorer_version`, or ReasonmillError when nothing was scored."""
    found = scorer_version(step_scores, source, version)
    if found is None:
        there = sorted({f"{row['source']}/{row['scorer_version']}" for row in _scorers(step_scores)})
        raise ReasonmillError(
            f'There are no step scores of source "{source}" and scorer_version "{version}", so consistency cannot be '
            f"tested; step_scores hold {', '.join(there[:5]) or 'nothing'}. Materialise step_scores first, or change "
            "consistency.source and consistency.scorer_version."
        )
    return found


def _scorers(step_scores: Rows) -> list[dict[str, str]]:
    """One row per source and version that scored anything, with the latest night in which it did."""
    with Warehouse.over({"step_scores": step_scores}) as warehouse:
        return warehouse.named("consistent_rollouts/scorers").to_pylist()
