"""The words of tree search, and the functions it receives.

A search is given `propose` (which steps could come next?), `evaluate` (how good is this path?),
`select` (which child next?) and `backup` (what does a return change?). Some methods ask for more: whole
continuations (`complete`), corrected answers (`refine`), steps of several kinds (`actions`). It never sees a model.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.search.tree import Tree


@dataclass(frozen=True, slots=True)
class Candidate:
    """A step that could come next, as proposed."""

    step_text: str  # without its separator
    token_ids: tuple[int, ...]  # exactly as generated, separator and end token included
    sum_logprob: float  # sum of the tokens' log-probabilities, <= 0
    prior: float  # selection weight as the recipe defines it, >= 0
    is_terminal: bool  # nothing can follow: an answer, the end token, or cut off by a length limit
    request_id: str  # the request that proposed it
    token_logprobs: tuple[float, ...] = ()  # one per token that was drawn; empty where the proposer knows none
    finish_reason: str = "stop"  # "length": cut off, so it is terminal and has no answer
    action: str = ""  # kind of step, where a recipe has several; "" = the ordinary one
    num_draws: int = 1  # samples of its request that said this, >= 1
    prompt_token_ids: tuple[int, ...] | None = None  # prompt of its own, at a first step of all that follow; None: the
    # problem's or that of the steps before it
    num_given_tokens: int = 0  # of the tokens, those that the policy did not draw: they have no log-probability


@dataclass(frozen=True, slots=True)
class Path:
    """A problem and the steps from the root to one node; the root's path has no steps."""

    problem: Mapping[str, object]  # one row of `problems`; the search itself reads nothing in it
    steps: tuple[Candidate, ...]
    draw: int = 0  # which independent draw from this path is asked for: another number, other samples

    @property
    def step_texts(self) -> list[str]:
        """Texts of the steps, without separators."""
        return [step.step_text for step in self.steps]

    @property
    def token_ids(self) -> tuple[int, ...]:
        """All tokens after the prompt, exact."""
        return tuple(token for step in self.steps for token in step.token_ids)

    @property
    def num_given_tokens(self) -> int:
        """Tokens after the prompt that the policy did not draw."""
        return sum(step.num_given_tokens for step in self.steps)

    @property
    def is_terminal(self) -> bool:
        """Whether the path is complete."""
        return bool(self.steps) and self.steps[-1].is_terminal

    @property
    def is_truncated(self) -> bool:
        """Whether a length limit cut the path off, so that it has no answer."""
        return bool(self.steps) and self.steps[-1].finish_reason == "length"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluator says of a path."""

    value: float  # estimated return, [0, 1]; 0 where not known
    outcome_reward: float | None = None  # grade of a complete path, 0.0 or 1.0; None = not graded
    num_samples: int = 0  # graded completions behind `value`; 0 for a critic's estimate
    request_ids: tuple[str, ...] = ()
    num_critic_tokens: int = 0  # tokens that a critic read for it
    is_known: bool = True  # False: no grade, no room to complete it, or beyond what the critic reads: the path teaches
    # nothing, is no visit, and nothing below it is looked at


@dataclass(frozen=True, slots=True)
class Continuation:
    """A sampled end of a path."""

    steps: tuple[Candidate, ...]  # from the path on to the end, at least one; only the last is terminal
    answer: str | None  # None: cut off, or no answer was found
    outcome_reward: float | None  # 0.0 or 1.0; None: not graded, or grades are not to be seen


@dataclass(frozen=True, slots=True)
class SearchParams:
    """Budget and shape of one search."""

    num_simulations: int  # passes of select, expand, evaluate, backup
    num_candidates: int  # steps asked for per expansion; duplicates collapse, so children may be fewer
    max_depth: int  # a node at this depth is never expanded
    evaluate_children: bool = True  # value every child of an expansion at once and back each of them up
    skip_exhausted: bool = True  # never descend again into a subtree in which nothing can be expanded
    expand_to_end: bool = False  # one simulation goes on expanding until its path is complete (MCTS-DPO)
    simulations_in_flight: int = 1  # per tree; 1 is exactly sequential and reproducible


@dataclass(frozen=True, slots=True)
class Frontier:
    """The leaves that a search by rounds has in hand, as node ids."""

    expand: tuple[int, ...]  # all expanded in the next round, in this order; none: the search has ended
    wait: tuple[int, ...] = ()  # may be chosen in a later round


@dataclass(frozen=True, slots=True)
class Rounds:
    """A search that expands chosen leaves all at once, instead of descending from the root to one of them."""

    advance: "AdvanceFn"
    root_factor: int = 1  # the root is asked for this many times `num_candidates` steps


ProposeFn = Callable[[Path, int], Awaitable[list[Candidate]]]
"""`propose(path, num_candidates)`: distinct next steps; an empty list means that none can follow."""

EvaluateFn = Callable[[Path], Awaitable[Evaluation]]
"""`evaluate(path)` of a path with at least one step."""

CompleteFn = Callable[[Path, int], Awaitable[list[Continuation]]]
"""`complete(path, num_samples)`: independent continuations to the end, unusable samples left out; none where the
path is complete or no room is left."""

RefineFn = Callable[[Path], Awaitable[Candidate | None]]
"""`refine(path)` of a path whose last step is a whole answer: a corrected one; None where none could be had."""

AnswerFn = Callable[[Path], str | None]
"""`answer_of(path)`: the final answer of a complete path; None where it has none."""

ReopenFn = Callable[[Path, str], tuple[Candidate, ...]]
"""`reopen(path, text)` of a complete path: its last step without its end, and the text as a step after it. The policy
can go on from there."""

EntropyFn = Callable[[Path], Awaitable[list[tuple[float, ...]] | None]]
"""`entropy(path)`: entropy of the policy's next-token distribution at every token of every step, in nats, >= 0; None
where the engine cannot give it."""

SelectFn = Callable[["Tree", int, Sequence[int]], int]
"""`select(tree, node_id, children)`: which of these children of a node to descend into; ties go to the first."""

BackupFn = Callable[["Tree", int, float], None]
"""`backup(tree, node_id, value)`: what a return observed at a node changes on its way to the root."""

AdvanceFn = Callable[["Tree", Frontier, Sequence[int]], Frontier]
"""`advance(tree, frontier, children)`: the frontier after this one, whose round gained these children (all valued,
in order of creation; an exhausted one cannot be expanded)."""
