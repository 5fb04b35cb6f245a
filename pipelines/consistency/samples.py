"""The columns that consistency methods read, each with one meaning, and how a query runs over them."""

from collections.abc import Callable

import pyarrow as pa
from pydantic import BaseModel

from pipelines.curation import Column
from pipelines.warehouse import Warehouse

NUMBERS = pa.list_(pa.float64())

PROBLEM_ID = Column("problem_id", pa.string(), "the problem", is_nullable=False)
ROLLOUT_ID = Column("rollout_id", pa.string(), "the rollout; it breaks ties", is_nullable=False)
GROUP_ID = Column(
    "group_id", pa.string(), "samples that are compared with each other; null = in none", is_required=False,
    stand_in="problem_id",
)  # fmt: skip
OUTCOME_REWARD = Column("outcome_reward", pa.float64(), "0 or 1; anything else, and null, is not graded")
STEP_VALUES = Column("step_values", NUMBERS, "a step critic's scores, one per step; null = not scored")
ANSWER = Column("answer", pa.string(), "the extracted final answer; null = none was found")
NUM_TOKENS = Column("num_tokens", pa.int64(), "completion tokens; null = not known")
SUM_LOGPROB = Column("sum_logprob", pa.float64(), "the completion's log-probability under the policy; null = not known")


def by_query(name: str, relation: str = "samples") -> Callable[[pa.Table, BaseModel], pa.Table]:
    """A curation's `run`: the query `name` over the rows as `relation`, with every parameter by its own name."""

    def run(rows: pa.Table, params: BaseModel) -> pa.Table:
        with Warehouse.over({relation: rows}) as warehouse:
            return warehouse.named(name, **params.model_dump())

    return run
