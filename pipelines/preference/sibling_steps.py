"""Step pairs from search trees: two steps tried from one prefix, with a gap between their values.

MCTS-DPO (arXiv 2405.00451) takes one loser per depth of the chosen path, in its released code a random sibling; here
every node of the tree may give pairs, the loser is every sibling that is worse by the margin, and the limit per problem
prefers one pair per node. Only visited siblings count: an unvisited one is unknown, not bad (rStar-Math).
"""

import pyarrow as pa

from pipelines.config import PairsConfig
from pipelines.tables import SCHEMAS
from pipelines.warehouse import Warehouse


def sibling_step_pairs(
    problems: pa.Table, search_nodes: pa.Table, config: PairsConfig, night: str, separator: str = "\n"
) -> pa.Table:
    """Rows of `preference_pairs` with kind `step`; `separator` ends every step in the texts."""
    with Warehouse.over({"problems": problems, "search_nodes": search_nodes}) as warehouse:
        pairs = warehouse.named(
            "preference_pairs/sibling_steps",
            min_margin=config.min_margin,
            min_visits=config.min_visits,
            max_pairs_per_problem=config.max_pairs_per_problem,
            separator=separator,
            night=night,
        )
    return pairs.cast(SCHEMAS["preference_pairs"])
