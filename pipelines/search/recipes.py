"""Published search methods by name: each binds a selection formula and a backup to a shape of search.

A recipe of a user's own is a `Recipe` too (or a function that returns one).
"""

import difflib
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace

from pipelines.errors import ConfigError
from pipelines.search.alphallm import AlphaLlm
from pipelines.search.alphallm import make_explore as make_alphallm
from pipelines.search.alphallm import wanted_critics as wanted_by_alphallm
from pipelines.search.best_of_n import BestOfN, make_sample_all
from pipelines.search.entropy_branching import Branching, make_branch
from pipelines.search.extraction import ANSWER_NODE, STEP_NODE
from pipelines.search.frontier import (
    beam_rounds,
    best_first_rounds,
    diverse_verifier_rounds,
    tree_of_thoughts_rounds,
)
from pipelines.search.iterative_deepening import Deepening, make_deepen
from pipelines.search.omegaprm import OmegaPrm
from pipelines.search.omegaprm import make_explore as make_omegaprm
from pipelines.search.picks import (
    VOTES,
    PickFn,
    make_pick_over_gate,
    pick_best,
    pick_by_descent,
    pick_by_vote,
)
from pipelines.search.rest_mcts import RollForward, make_grow_and_roll, weighted_backup
from pipelines.search.retrieval_planner import RetrievalPlanner, make_retrieval_planner
from pipelines.search.rstar import RStar
from pipelines.search.rstar import make_explore as make_rstar
from pipelines.search.search import ExploreFn, GrowFn, SearchFunctions, mean_backup
from pipelines.search.selection import UNVISITED_BONUS, make_puct, make_rest_mcts, make_uct
from pipelines.search.self_refine import SelfRefine, make_self_refine
from pipelines.search.strategy_first import StrategyFirst, make_strategy_first
from pipelines.search.tree import Tree
from pipelines.search.types import BackupFn, EvaluateFn, ProposeFn, Rounds, SelectFn
from pipelines.search.value_guided_decoding import Guidance, make_decode

INDEPENDENT_SAMPLES = "independent_samples"
"""`rollouts.recipe` of complete solutions sampled without a tree."""

NEEDS = frozenset(
    {"complete", "refine", "reopen", "entropy", "actions", "strategies", "retrieval", "critics", "grades"}
)
"""What a recipe's search may ask for: sampled continuations to the end, corrected answers, answers made open again, the
entropies of sampled tokens, steps of several kinds (`strategies`: one kind per configured strategy, or those of the
prompt style; `actions`: the configured ones beside the ordinary steps; `retrieval`: thoughts, queries to a corpus and
documents), critics beside the one evaluator, and grades (so that it makes data and cannot answer problems)."""


MakePickFn = Callable[[object], PickFn]
"""`make_pick(params)`: how an answer is picked from a tree of the recipe."""


def always(pick: PickFn) -> MakePickFn:
    """The same pick whatever the parameters."""
    return lambda params: pick


def by_vote(params: object) -> PickFn:
    """The pick that the parameter `vote` names."""
    return VOTES[params.vote]


WantedCriticsFn = Callable[[object], Mapping[str, str]]
"""`wanted_critics(params)`: critics beside the one evaluator that these parameters give weight to and that nothing
stands in for -> the parameter that says so."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What distinguishes one tree search from another.

    A search descends (`make_select`), goes by rounds (`make_rounds`) or has a loop of its own (`make_explore`);
    `evaluate_children`, `skip_exhausted` and `expand_to_end` concern the first kind, and a round always values all its
    children. A recipe with none of them searches nothing: its trees are merged from independent samples
    (`merge_samples`).
    """

    name: str
    paper: str
    summary: str
    make_select: Callable[[float], SelectFn] | None = None  # exploration constant -> selection
    backup: BackupFn = mean_backup
    evaluate_children: bool = True
    skip_exhausted: bool = True
    expand_to_end: bool = False
    exploration: float | None = 1.0  # weight of the bonus for few visits, >= 0; None: the recipe has none
    grow: GrowFn | None = None  # a simulation of its own, from a selected leaf on; None: the usual one
    make_rounds: Callable[[int | None], Rounds] | None = None  # beam width -> rounds
    beam_width: int | None = None  # paths or subtrees kept, >= 1; None: the recipe keeps no beam
    merge_samples: bool = False
    make_explore: Callable[[object], ExploreFn] | None = None  # `params` -> the whole search
    params: object | None = None  # frozen dataclass: the method's own parameters, set by `rollouts.parameters`
    needs: frozenset[str] = frozenset()  # what its search asks for beside steps and values: see NEEDS
    wanted_critics: WantedCriticsFn | None = None  # None: any that there are, and none has to be
    ignores: frozenset[str] = frozenset()  # keys of the section `rollouts` that searches have and this one does not
    whole_answers: bool = False  # every node below the root is a whole answer and so a rollout
    make_pick: MakePickFn = always(pick_by_descent)  # which complete path is the answer, where there is no grade
    visits_are_samples: bool = False  # a complete path's visits are the samples that ended there; each has a vote
    constants: Mapping[str, float] = field(default_factory=dict)  # numbers of the method that are not configured

    def with_parameters(
        self, exploration: float | None, beam_width: int | None, own: Mapping[str, object] | None = None
    ) -> "Recipe":
        """This recipe with what was configured; None, and what the recipe does not use, changes nothing.

        `own` sets fields of `params`; ConfigError where there is no such field or the value is out of bounds.
        """
        return replace(
            self,
            exploration=self.exploration if None in (exploration, self.exploration) else exploration,
            beam_width=self.beam_width if None in (beam_width, self.beam_width) else beam_width,
            params=self._own_parameters(own or {}),
        )

    def functions(self, propose: ProposeFn, evaluate: EvaluateFn) -> SearchFunctions:
        """What its search is made of; ConfigError where it has no search or a parameter is out of bounds."""
        self._check()
        if self.make_explore is not None:
            return SearchFunctions(propose, evaluate, None, self.backup, explore=self.make_explore(self.params))
        if self.make_rounds is not None:
            return SearchFunctions(propose, evaluate, None, self.backup, rounds=self.make_rounds(self.beam_width))
        return SearchFunctions(propose, evaluate, self.make_select(self.exploration), self.backup, self.grow)

    def check_critics(self, critics: Collection[str]) -> None:
        """ConfigError where a parameter gives weight to a critic that is not among these."""
        wanted = self.wanted_critics(self.params) if self.wanted_critics is not None else {}
        for name, key in wanted.items():
            if name not in critics:
                raise ConfigError(
                    f'The recipe "{self.name}" has {key} = {getattr(self.params, key)} (key rollouts.parameters.{key}) '
                    f"and there is no {name} critic here: search with rollouts.guided = true, so that the critic of an "
                    f"earlier night is one, or set {key} to 0."
                )

    def asks_for(self, critic: str) -> bool:
        """Whether its search can make use of a critic of this name beside the one evaluator."""
        if "critics" not in self.needs:
            return False
        return self.wanted_critics is None or critic in self.wanted_critics(self.params)

    @property
    def node_kind(self) -> str:
        """What the nodes of its trees are: `search_nodes.node_kind`."""
        return ANSWER_NODE if self.whole_answers else STEP_NODE

    def complete_nodes(self, tree: Tree) -> list[int]:
        """Ids of the nodes at which a rollout ends, in creation order."""
        return list(range(1, len(tree))) if self.whole_answers else tree.terminals()

    def _own_parameters(self, own: Mapping[str, object]) -> object | None:
        known = {one.name: one for one in fields(self.params)} if self.params is not None else {}
        for key, value in own.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, n=3, cutoff=0.3) or sorted(known)
                hint = f"It has {', '.join(near)}." if near else "It has none."
                raise ConfigError(
                    f'The recipe "{self.name}" has no parameter "{key}" (key rollouts.parameters.{key}). {hint}'
                )
            default = getattr(self.params, key)
            if not _is_like(value, default):
                raise ConfigError(
                    f'The recipe "{self.name}" has {key} = {value!r} (key rollouts.parameters.{key}); it must be of '
                    f"the kind of its default, {default!r}."
                )
        if not own:
            return self.params
        typed = {key: _typed(value, getattr(self.params, key)) for key, value in own.items()}
        try:
            return replace(self.params, **typed)
        except ValueError as error:  # the dataclass's own check of its bounds
            raise ConfigError(f'The recipe "{self.name}" (keys rollouts.parameters): {error}') from error

    def _check(self) -> None:
        ways = sum(way is not None for way in (self.make_select, self.make_rounds, self.make_explore))
        if ways != 1:
            raise ConfigError(
                f'The recipe "{self.name}" has {"no" if ways == 0 else "several kinds of"} search: a recipe that '
                "searches has exactly one of `make_select`, `make_rounds` and `make_explore`."
            )
        if not self.needs <= NEEDS:
            raise ConfigError(
                f'The recipe "{self.name}" needs {", ".join(sorted(self.needs - NEEDS))}; a search can be given '
                f"{', '.join(sorted(NEEDS))}."
            )
        if self.exploration is not None and not (math.isfinite(self.exploration) and self.exploration >= 0):
            raise ConfigError(
                f'The recipe "{self.name}" has exploration {self.exploration} (key rollouts.exploration); it must be a '
                "finite number of at least 0."
            )
        if self.beam_width is not None and self.beam_width < 1:
            raise ConfigError(
                f'The recipe "{self.name}" has beam width {self.beam_width} (key rollouts.beam_width); it must be at '
                "least 1."
            )


def _is_like(value: object, default: object) -> bool:
    """Whether a configured value can stand where this default stands: an int may be a float, a list a tuple."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, tuple):
        return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
    return isinstance(value, type(default))


def _typed(value: object, default: object) -> object:
    """The value in its default's own type."""
    if isinstance(default, tuple):
        return tuple(value)
    return float(value) if isinstance(default, float) else value


ROLL_FORWARD = RollForward()
END_GATE = 0.9  # of ReST-MCTS*: the value from which a complete path is taken for the answer

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="puct",
            paper="MCTS-DPO, Xie et al. 2024, arXiv 2405.00451",
            summary=(
                "PUCT with the prior exp(sum log p / length^1.25), not normalised over siblings. Other than in the "
                "paper every child of an expansion is valued by graded completions (instead of one path by a "
                "self-evaluation that sees the answer) and backed up as a visit, and Q is the mean of these returns"
            ),
            make_select=make_puct,
        ),
        Recipe(
            name="uct",
            paper="Kocsis and Szepesvari 2006, Bandit based Monte-Carlo Planning",
            summary="UCB1 on trees: the mean return and a bonus for few visits; priors are ignored",
            make_select=make_uct,
        ),
        Recipe(
            name="rest_mcts",
            paper="ReST-MCTS*, Zhang et al. 2024, arXiv 2406.03816",
            summary=(
                "MCTS*: only the best new child is visited, its value looks a step ahead, and a node is worth the "
                "visit-weighted mean of its children; the evaluator at hand stands in for the paper's value model"
            ),
            make_select=make_rest_mcts,
            backup=weighted_backup,
            skip_exhausted=False,
            exploration=0.5,
            grow=make_grow_and_roll(ROLL_FORWARD),
            constants={f"roll_{key}": value for key, value in asdict(ROLL_FORWARD).items()}
            | {"unvisited_bonus": UNVISITED_BONUS, "end_gate": END_GATE},
            make_pick=always(make_pick_over_gate(END_GATE)),
        ),
        Recipe(
            name="best_first",
            paper="critic-guided search of InternLM2.5-StepProver, Wu et al. 2024, arXiv 2410.15700",
            summary=(
                "expands the leaf with the largest value in the whole tree, one per simulation; it goes on after the "
                "first answer until its budget is spent"
            ),
            exploration=None,
            make_rounds=best_first_rounds,
            make_pick=always(pick_best),
        ),
        Recipe(
            name="beam",
            paper="beam search against a verifier, Snell et al. 2024, arXiv 2408.03314",
            summary="level by level: the best open steps of all paths together are kept, the others are dropped",
            exploration=None,
            make_rounds=beam_rounds,
            make_pick=always(pick_by_vote),
            beam_width=4,
        ),
        Recipe(
            name="diverse_verifier_tree_search",
            paper="Beeching, Tunstall and Rush 2024, Scaling Test-Time Compute with Open Models",
            summary="DVTS: independent subtrees from the first step on, greedy on the value inside each",
            exploration=None,
            make_rounds=diverse_verifier_rounds,
            make_pick=always(pick_by_vote),
            beam_width=4,
        ),
        Recipe(
            name="tree_of_thoughts",
            paper="Tree of Thoughts, Yao et al. 2023, arXiv 2305.10601",
            summary=(
                "ToT-BFS: the best states of each level are kept and expanded; an answer keeps its place among them "
                "while it is good enough"
            ),
            exploration=None,
            make_rounds=tree_of_thoughts_rounds,
            make_pick=always(pick_best),
            beam_width=5,
        ),
        Recipe(
            name="prefix_tree_values",
            paper="TEMPO (Prefix-to-Tree), Tran et al. 2025, arXiv 2509.18314",
            summary=(
                "no search: a group of independent samples is merged into a tree of equal first steps, and a node is "
                "worth the mean grade of the samples that pass through it"
            ),
            exploration=None,
            merge_samples=True,
        ),
        Recipe(
            name="omegaprm",
            paper="OmegaPRM, Luo et al. 2024, arXiv 2406.06592",
            summary=(
                "Monte Carlo labels of steps: one simulation follows one wrong completion and finds its first error by "
                "halving. Completions that pass through a state are used again; every completion is a rollout of the "
                "tree. `num_candidates` and `num_evaluations` have no effect. It makes data only"
            ),
            exploration=None,
            make_explore=make_omegaprm,
            params=OmegaPrm(),
            needs=frozenset({"complete", "grades"}),
        ),
        Recipe(
            name="alphallm",
            paper="AlphaLLM, Tian et al. 2024, arXiv 2404.12253",
            summary=(
                "adaptive branching, merged states and three critics; an option is a step. One simulation adds steps, "
                "one per level, until a path is complete or a step is merged with a sibling. Until an outcome critic "
                "is trained the mean grade of the fast rollouts stands in, and in answering the value critic's mean "
                "score of their ends. `num_candidates` has no effect"
            ),
            exploration=None,
            make_explore=make_alphallm,
            params=AlphaLlm(),
            needs=frozenset({"complete", "critics"}),
            wanted_critics=wanted_by_alphallm,
        ),
        Recipe(
            name="rstar",
            paper="rStar, Qi et al. 2024, arXiv 2408.06195; rStar-Math, Guan et al. 2025, arXiv 2501.04519",
            summary=(
                "next steps, the remaining steps at once and the ways of rollouts.strategies compete in one tree; "
                "right ends count +1 and wrong ones -1 (1 and 0 in the tables). One simulation expands until a path is "
                "complete. In answering an end is worth the share of second completions of a prefix that agree with it"
            ),
            exploration=None,
            make_explore=make_rstar,
            params=RStar(),
            needs=frozenset({"complete", "actions"}),
        ),
        Recipe(
            name="value_guided_decoding",
            paper="Q#, Zhou et al. 2025, arXiv 2502.20548; critic-guided decoding, Kim et al. 2023, arXiv 2212.10938",
            summary=(
                "each step is drawn from the policy's candidates, reweighted by exp(value / eta), by Q#'s own "
                "exp(Q / eta) for rewards of 0 or 1 (rule q_sharp), or by value^(1 / eta) (rule ratio). One simulation "
                "decodes one path. The unit is a step, in the papers a token; written from memory of them"
            ),
            exploration=None,
            make_explore=make_decode,
            params=Guidance(),
            make_pick=by_vote,
            visits_are_samples=True,
        ),
        Recipe(
            name="best_of_n",
            paper="Training Verifiers to Solve Math Word Problems, Cobbe et al. 2021, arXiv 2110.14168",
            summary=(
                "as many complete solutions as simulations, num_candidates per request, merged where their first "
                "tokens are equal; the evaluator values the ends, and `vote` picks: best, majority "
                "(self-consistency, arXiv 2203.11171), weighted (largest sum of values), borda (of votes by rank, "
                "arXiv 2502.18581), or by the policy's own logprob or mean_logprob"
            ),
            exploration=None,
            make_explore=make_sample_all,
            params=BestOfN(),
            needs=frozenset({"complete"}),
            ignores=frozenset({"max_depth"}),
            make_pick=by_vote,
            visits_are_samples=True,
        ),
        Recipe(
            name="iterative_deepening",
            paper="Iterative Deepening Sampling, Chen, Koenig and Dilkina 2025, arXiv 2502.05449",
            summary=(
                "stages of samples whose number grows until the majority is stable or an answer is verified by its "
                "value; each stage goes on from the best answers so far, after `trigger` or, without one, from before "
                "their weakest steps. One simulation is one sample. The stopping rules and the way without a trigger "
                "are this project's; the rest from the paper's abstract and memory"
            ),
            exploration=None,
            make_explore=make_deepen,
            params=Deepening(),
            needs=frozenset({"complete", "reopen"}),
            ignores=frozenset({"max_depth"}),
            make_pick=by_vote,
            visits_are_samples=True,
        ),
        Recipe(
            name="entropy_branching",
            paper="SRGen, Mu et al. 2025, arXiv 2510.02919; TreeRL, Hou et al. 2025, arXiv 2506.11902",
            summary=(
                "samples fork before the steps in which a token's uncertainty exceeds mean + num_sd deviations of the "
                "tokens before it, the largest first. One simulation is one sample. Where the engine has no exact "
                "entropies the surprisal of the sampled token stands in; forks keep whole steps; TreeRL from memory"
            ),
            exploration=None,
            make_explore=make_branch,
            params=Branching(),
            needs=frozenset({"complete", "entropy"}),
            ignores=frozenset({"max_depth"}),
            make_pick=by_vote,
            visits_are_samples=True,
        ),
        Recipe(
            name="mcts_self_refine",
            paper="MCTSr, Zhang et al. 2024, arXiv 2406.07394",
            summary=(
                "nodes are whole answers and children refinements of them; one simulation criticises, refines and "
                "values one answer (the first one draws the first answers). Other than in the paper an answer's reward "
                "is the evaluator's value instead of the policy's own score, and nothing stops at the right answer"
            ),
            exploration=None,
            make_explore=make_self_refine,
            params=SelfRefine(),
            needs=frozenset({"complete", "refine"}),
            whole_answers=True,
            make_pick=always(pick_best),
        ),
        Recipe(
            name="mc_nest",
            paper="MC-NEST, Rabby et al. 2024, arXiv 2411.15645",
            summary=(
                "mcts_self_refine whose answers are drawn by importance, UCT + 1/|C|, or pairwise by their gap; "
                "rebuilt from the abstract and memory, its constants were not checked"
            ),
            exploration=None,
            make_explore=make_self_refine,
            params=SelfRefine(selection="importance"),
            needs=frozenset({"complete", "refine"}),
            whole_answers=True,
            make_pick=always(pick_best),
        ),
        Recipe(
            name="strategy_first",
            paper="SMART, Liu et al. 2024, arXiv 2410.16128",
            summary=(
                "a bandit over the configured strategies (rollouts.strategies) at the root, PUCT on the chosen one's "
                "steps below; one simulation tries a new strategy or expands one leaf. Only the idea is the paper's, "
                "as its abstract has it: the policy is not trained to choose, and UCB1 is this project's formula"
            ),
            exploration=None,
            make_explore=make_strategy_first,
            params=StrategyFirst(),
            needs=frozenset({"strategies"}),
        ),
        Recipe(
            name="retrieval_planner",
            paper="CR-Planner, Li et al. 2024, arXiv 2410.01428",
            summary=(
                "sub-goals reason, query and retrieve (BM25 over retrieval.corpus), chosen by the mean value of what "
                "they brought; one simulation carries out one sub-goal at one node. Rebuilt from the abstract and "
                "figures, without the paper's fine-tuned sub-goal critic, and not run with a model that can use it"
            ),
            exploration=None,
            make_explore=make_retrieval_planner,
            params=RetrievalPlanner(),
            needs=frozenset({"retrieval"}),
        ),
    )
}


def recipe_named(name: str, own: Mapping[str, Recipe] | None = None) -> Recipe:
    """The recipe of that name, the user's own first; ConfigError with the near names when there is none."""
    known = {**RECIPES, **(own or {})}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or sorted(known)
    raise ConfigError(
        f'There is no search recipe "{name}" (key rollouts.recipe). Did you mean {" or ".join(near)}? '
        f"All recipes: {', '.join(sorted(known))}."
    )
