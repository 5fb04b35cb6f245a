"""Past rejected, future chosen (temporal self-rewarding, arXiv 2508.06026).

M_i judges everything. First pass: chosen = best of M_i's answers; rejected = worst of M_0's where that is worse than
the worst of M_i's, else the worst of M_i's. Second pass, with answers of the model that was trained on those pairs:
chosen = its best where that beats M_i's best, rejected as before. Both passes keep a pair where chosen scores higher,
and M_{i+1} is trained from M_i, not from the model of the second pass.
"""

from pydantic import Field

from pipelines.preference.mining import MinerParams, answer_columns, miner


class TemporalParams(MinerParams):
    """Which policies are the past, the present and the future."""

    past: str = Field("past", min_length=1, description="policy of the first model, M_0")
    present: str = Field("present", min_length=1, description="policy of the model that is trained on, M_i")
    future: str = Field("future", min_length=1, description="policy of the second pass's model; may have none")


TEMPORAL_ANCHORS = miner(
    "temporal_pairs", "rollout", TemporalParams, answer_columns("score", "policy"), "temporal_anchors"
)
