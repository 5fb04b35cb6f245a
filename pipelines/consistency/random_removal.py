"""The baseline of every consistency filter: remove as many right and wrong rollouts as PROF would, but by lot.

What a filter gains over this is what its scores know; what this gains over no filter is only balance.
"""

import pyarrow as pa

from pipelines.config import ConsistencyMethodConfig
from pipelines.consistency.prof import run_prof


def random_removal(
    rollouts: pa.Table,
    step_scores: pa.Table,
    method: ConsistencyMethodConfig,
    *,
    night: str,
    source: str = "critic",
    scorer_version: str = "latest",
) -> pa.Table:
    """One row of `consistency_results` per rollout; the same pool and counts as `prof` with the same parameters.

    The lot is a hash of rollout id and method name, so it is the same in every run. Raises as `prof` does.
    """
    return run_prof(rollouts, step_scores, method, night, source, scorer_version, (False, False))
