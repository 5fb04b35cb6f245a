"""Methods that make, weigh and clean preference pairs."""

from pipelines.catalogue.method import Method
from pipelines.curation import Curation
from pipelines.preference import methods


def _miner(name: str, paper: str, arxiv: str | None, summary: str, query: str, reads: tuple[str, ...]) -> Method:
    """A miner of `preference_pairs`, which also runs on any table."""
    curation = methods.MINERS[name].curation
    return _record(name, paper, arxiv, summary, query, reads, ("preference_pairs",), curation)


def _record(
    name: str,
    paper: str,
    arxiv: str | None,
    summary: str,
    query: str,
    reads: tuple[str, ...],
    writes: tuple[str, ...],
    curation: Curation,
) -> Method:
    return Method(
        name=name,
        paper=paper,
        arxiv=arxiv,
        summary=summary,
        reads=reads,
        writes=writes,
        params=curation.params,
        function="pipelines.preference_pairs.make_pairs",
        query=f"preference_pairs/{query}",
        curation=curation,
    )


TREES = ("problems", "search_nodes", "rollouts")
ANSWERS = ("problems", "rollouts", "step_scores")

METHODS = (
    _miner(
        "sibling_step_pairs",
        "Monte Carlo Tree Search Boosts Reasoning via Iterative Preference Learning (MCTS-DPO)",
        "2405.00451",
        "Pairs the best with a worse child of one node: same prefix, a gap of values.",
        "sibling_steps",
        TREES,
    ),
    _miner(
        "ppm_step_pairs",
        "rStar-Math: Small LLMs Can Master Math Reasoning with Self-Evolved Deep Thinking",
        "2501.04519",
        "Pairs siblings that led to right and to wrong answers, where their continuations agree.",
        "ppm_steps",
        TREES,
    ),
    _miner(
        "mcts_dpo_pairs",
        "Monte Carlo Tree Search Boosts Reasoning via Iterative Preference Learning (MCTS-DPO)",
        "2405.00451",
        "One pair per depth of the chosen path, by visits and then values, with soft labels from the visit counts, as "
        "the released code makes them; children that were never visited are left out here.",
        "mcts_dpo",
        TREES,
    ),
    _miner(
        "rollout_pairs",
        "Direct Preference Optimization, on graded solutions (iterative reasoning preference optimisation)",
        "2404.19733",
        "Pairs a right with a wrong complete solution of one problem.",
        "whole_rollouts",
        ANSWERS,
    ),
)
