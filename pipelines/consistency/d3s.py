"""D3S (arXiv 2509.22115): of a whole batch, the samples whose advantages vary most; and the tokens that count.

Sample level: `sql/consistent_rollouts/d3s.sql`. Worked example: groups 1, 0, 0, 0 and 1, 1, 0, 0 have the advantages
.75, -.25, -.25, -.25 and .5, .5, -.5, -.5; of N = 3 the two smallest and the largest, -.5, -.5, .75, vary most
(.3472; one smallest and two largest, -.5, .5, .75, have .2917). Selection is across groups: within one normalised group
the variance is 1 whatever is kept. The paper's schedule goes from few samples (aggressive) to many; its numbers are not
known here, so half is our default.

Token level: the top share of a sample's tokens by |advantage| * entropy, which within a sample is by entropy.
"""

import pyarrow as pa
from pydantic import Field

from pipelines.config_models import Section
from pipelines.consistency.samples import GROUP_ID, OUTCOME_REWARD, ROLLOUT_ID, by_query
from pipelines.curation import DECISION, Column, Curation


class D3SParams(Section):
    """How many samples stay."""

    num_kept: int | None = Field(None, ge=0, description="samples kept of the whole input (N); default: keep_share")
    keep_share: float = Field(0.5, gt=0.0, le=1.0, description="share of the graded samples that is kept")
    normalise: bool = Field(False, description="divide advantages by their group's deviation before comparing groups")


class D3STokenParams(Section):
    """How many tokens stay."""

    keep_share: float = Field(0.2, gt=0.0, le=1.0, description="share of all tokens of the input that is kept (K)")


D3S = Curation(
    params=D3SParams,
    reads=(Column("problem_id", pa.string(), "the problem", is_nullable=False), ROLLOUT_ID, OUTCOME_REWARD, GROUP_ID),
    writes=DECISION,
    grain="rows",
    run=by_query("consistent_rollouts/d3s"),
)
D3S_TOKENS = Curation(
    params=D3STokenParams,
    reads=(
        ROLLOUT_ID,
        Column("advantage", pa.float64(), "the sample's advantage; null = none"),
        Column("token_entropies", pa.list_(pa.float64()), "nats, one per completion token; null = not known"),
    ),
    writes=pa.schema([("token_mask", pa.list_(pa.bool_()))]),
    grain="rows",
    run=by_query("consistent_rollouts/d3s_tokens", "token_samples"),
)
