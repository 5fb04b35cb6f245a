"""A consistency filter of one's own: keep right rollouts whose weakest step convinced the critic."""

import pyarrow as pa
import pyarrow.compute as pc


def keep_convincing(rollouts: pa.Table, step_scores: pa.Table) -> pa.Table:
    """One row per rollout: rollout_id, kept, reason (why not; null when kept), score."""
    weakest = step_scores.group_by("rollout_id").aggregate([("score", "min")])
    table = rollouts.select(["rollout_id", "outcome_reward"]).join(weakest, "rollout_id")
    is_right = pc.equal(table["outcome_reward"], 1.0)
    is_sure = pc.fill_null(pc.greater(table["score_min"], 0.5), False)
    reason = pc.if_else(is_right, pc.if_else(is_sure, None, "doubtful_step"), "wrong_answer")
    return pa.table(
        {
            "rollout_id": table["rollout_id"],
            "kept": pc.and_(is_right, is_sure),
            "reason": reason,
            "score": table["score_min"],
        }
    )
