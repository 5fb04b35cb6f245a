"""Which step scores a filter may look at: one source, one scorer version."""

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import ConfigError, ReasonmillError

LATEST = "latest"
MONTE_CARLO = "monte_carlo"


def scorer_version(step_scores: pa.Table, source: str, version: str = LATEST) -> str | None:
    """The version to use: `version` itself, or with "latest" the one that scored in the latest night.

    None when there are no scores of `source` (and `version`). Raises ConfigError for `monte_carlo`, and where
    "latest" is not one version: scores of two scorers are not comparable.
    """
    if source == MONTE_CARLO:
        raise ConfigError(
            'consistency.source is "monte_carlo", but Monte Carlo step values are made from the outcomes of the same '
            "rollouts, so they always agree with the outcome and cannot test it; use critic, judge or formal."
        )
    scores = _scorers(step_scores)
    scores = scores.filter(pc.equal(scores["source"], source))
    if version != LATEST:
        return version if pc.any(pc.equal(scores["scorer_version"], version)).as_py() else None
    if scores.num_rows == 0:
        return None
    newest = scores.filter(pc.equal(scores["night"], pc.max(scores["night"])))
    versions = sorted(pc.unique(newest["scorer_version"]).to_pylist())
    if len(versions) > 1:
        raise ConfigError(
            f'step_scores of source "{source}" hold {len(versions)} scorer versions in the latest night '
            f'({", ".join(versions[:5])}), so that "latest" names none; name one in consistency.scorer_version.'
        )
    return versions[0]


def required_scorer_version(step_scores: pa.Table, source: str, version: str = LATEST) -> str:
    """`scorer_version`, or ReasonmillError when nothing was scored."""
    found = scorer_version(step_scores, source, version)
    if found is None:
        there = sorted({f"{row['source']}/{row['scorer_version']}" for row in _scorers(step_scores).to_pylist()})
        raise ReasonmillError(
            f'There are no step scores of source "{source}" and scorer_version "{version}", so consistency cannot be '
            f"tested; step_scores hold {', '.join(there[:5]) or 'nothing'}. Materialise step_scores first, or change "
            "consistency.source and consistency.scorer_version."
        )
    return found


def scores_of(step_scores: pa.Table, source: str, version: str | None) -> pa.Table:
    """The rows of one scorer, not copied where all are; no rows where `version` is None."""
    if version is None:
        return step_scores.slice(0, 0)
    same = pc.and_(pc.equal(step_scores["source"], source), pc.equal(step_scores["scorer_version"], version))
    return step_scores if pc.all(same, skip_nulls=False).as_py() else step_scores.filter(same)


def _scorers(step_scores: pa.Table) -> pa.Table:
    """One row per source, version and night that scored anything."""
    return step_scores.group_by(["source", "scorer_version", "night"]).aggregate([])
