"""What Mutual-Taught compares tonight's samples with: those of the policy before, scored by the same critics."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from assets.critics import fold_scorers, judged_rollouts, scoring_critics
from assets.resources import prompts_of
from critics.score import out_of_fold_scores
from pipelines.config import Settings
from pipelines.lake import Lake
from pipelines.preference.mutual_taught import night_before_update
from pipelines.tables import SCHEMAS


@dataclass(frozen=True)
class EarlierPolicy:
    """Samples of the policy before its last update and scores of their steps; without rows where there is none.

    `lineage`: `table/night` -> generation of what was read.
    """

    rollouts: pa.Table
    scores: pa.Table
    lineage: dict[str, str]


def earlier_policy(
    lake: Lake, settings: Settings, problems: pa.Table, rollouts: pa.Table, step_scores: pa.Table, night: str
) -> EarlierPolicy:
    """The samples of the latest night of another policy on tonight's problems, as tonight's scorer sees them.

    Where another critic scored them then, tonight's trained critics score them again; the language model of a
    generative critic is not asked again.
    """
    earlier = night_before_update(lake, rollouts, night)
    if earlier is None:
        return EarlierPolicy(SCHEMAS["rollouts"].empty_table(), SCHEMAS["step_scores"].empty_table(), {})
    samples = judged_rollouts(lake.read("rollouts", earlier))
    is_shared = pc.is_in(samples["problem_id"], value_set=pc.unique(rollouts["problem_id"]))
    samples = samples.filter(pc.and_(samples["group_id"].is_valid(), is_shared))
    scores = lake.read("step_scores", earlier)
    scores = scores.filter(pc.is_in(scores["scorer_version"], value_set=pc.unique(step_scores["scorer_version"])))
    is_trained = settings.process_critic.kind == "trained"
    if scores.num_rows == 0 and samples.num_rows and step_scores.num_rows and is_trained:
        scorers = fold_scorers(settings, scoring_critics(lake, night), settings.process_critic.calibration)
        scores = out_of_fold_scores(samples, problems, scorers, prompts_of(settings).verify_prompt, earlier)
    lineage = {f"{table}/{earlier}": lake.generation(table, earlier) for table in ("rollouts", "step_scores")}
    return EarlierPolicy(samples, scores, {name: one for name, one in lineage.items() if one is not None})
