"""Pairs of a policy's answers after and before an update, which refresh a reward model (Mutual-Taught, 2506.06292).

The policy moves away from what its reward model was trained on. The M-step takes the updated policy's answer y_t for
better than the answer y_(t-1) of the policy before, on the same problem, and drops a pair only where the reward model
of before the update disagrees clearly:

    keep  where  r_(t-1)(y_t) - r_(t-1)(y_(t-1)) > -epsilon,    epsilon = std of r_(t-1) over the answers y_(t-1)

The reward model is then trained again from its start on these pairs and the ranked answers of the policy's own training
(`process_critic.labels = "policy_shift"`). A policy update is used only where the reward model prefers its answers in
60 % of comparisons; the paper measures that on 2,000 prompts of its own, here it is measured on the compared answers.
From a published account of the paper, whose code is not out: that epsilon has n in its denominator, that a draw counts
half, and `respects_outcomes` are ours. All answers alike: epsilon is 0, and only better answers make a pair.
"""

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipelines.lake import Lake
from pipelines.preference.mining import MinerParams, answer_columns, miner

KIND = "policy_shift"


class MutualTaughtParams(MinerParams):
    """Which policies, and when their comparison is believed."""

    before: str | None = Field(
        None, min_length=1, description="policy before the update; default: of answers without is_teacher"
    )
    after: str | None = Field(None, min_length=1, description="updated policy; default: of answers with is_teacher")
    tolerance: float = Field(
        1.0, ge=0.0, le=1000.0, description="a pair is dropped whose chosen answer scores this many epsilon lower"
    )
    min_win_rate: float = Field(
        0.6, ge=0.0, le=1.0, description="no pair where the updated policy's answers win less of the comparisons"
    )
    respects_outcomes: bool = Field(False, description="ours: drop pairs of an answer graded wrong over a right one")


MUTUAL_TAUGHT = miner(
    "mutual_taught", KIND, MutualTaughtParams, answer_columns("score", also=("is_teacher",)), "mutual_taught"
)


def night_before_update(lake: Lake, rollouts: pa.Table, night: str) -> str | None:
    """The latest night before this one all of whose rollouts another policy wrote; None where there is none."""
    policies = pc.unique(rollouts["policy_version"]).drop_null()
    for earlier in reversed([one for one in lake.partitions("rollouts") if one < night]):
        found = pc.unique(lake.read("rollouts", earlier, ["policy_version"])["policy_version"]).drop_null()
        if len(found) and not pc.any(pc.is_in(found, value_set=policies)).as_py():
            return earlier
    return None
