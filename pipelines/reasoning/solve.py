"""Answering problems by search with a critic, without any reference answer until the answer is chosen.

How the answer is picked from the tree (search/picks.py) matters more than the number of simulations: the maximum
over all complete paths looks for the critic's largest mistake, and finds it the better the more it searches. Each
recipe picks as its paper does.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import pyarrow as pa

from pipelines.config import STARTER_AGENTS, AgentConfig, RolloutsConfig
from pipelines.inference.errors import RequestError
from pipelines.inference.types import GenerationRequest, Sampling
from pipelines.reasoning.assembly import describe_error
from pipelines.reasoning.functions import search_functions
from pipelines.reasoning.metering import BudgetSpentError, MeteredSession
from pipelines.reasoning.prompts import PromptStyle
from pipelines.reasoning.propose import (
    GenerationSession,
    check_room,
    make_encode_problem,
    prompt_of,
    search_params,
    tokens_left,
)
from pipelines.reasoning.steps import ExtractFn, GradeFn, grade_steps, is_cut_off, split_steps
from pipelines.records import ProgressFn, TokenUsage, no_progress, stable_seed
from pipelines.retrieval.corpus import Corpus
from pipelines.search.extraction import Row
from pipelines.search.flight import run_in_flight
from pipelines.search.picks import CompletePath, PickFn
from pipelines.search.recipes import RECIPES, Recipe
from pipelines.search.search import evaluate_remaining_terminals, search_tree
from pipelines.search.tree import ROOT, Tree
from pipelines.search.types import EvaluateFn

CRITIC_GUIDED = replace(
    RECIPES["puct"],
    name="puct_critic",
    summary="PUCT whose leaves a critic values; each simulation expands down to a complete path, as MCTS-DPO does",
    expand_to_end=True,
)

PLAIN = "puct"  # stands for CRITIC_GUIDED where searches are to answer
OUT_OF_REACH = frozenset({"grades", "retrieval"})  # needs of recipes that make data alone, or read a corpus


def answering_search(recipe: Recipe) -> tuple[str, Recipe] | None:
    """A recipe and its strategy's name, such as "beam_critic"; None where one critic cannot guide it to an answer.

    PUCT is `CRITIC_GUIDED` here, with a complete path per simulation.
    """
    if recipe.name == PLAIN:
        return CRITIC_GUIDED.name, CRITIC_GUIDED
    wanted = recipe.wanted_critics(recipe.params) if recipe.wanted_critics is not None else {}
    if recipe.merge_samples or wanted or not OUT_OF_REACH.isdisjoint(recipe.needs):
        return None
    return f"{recipe.name}_critic", recipe


@dataclass(frozen=True, slots=True)
class Solution:
    """The answer of a strategy to one problem, with everything that it cost."""

    problem_id: str
    answer: str | None  # None: no answer was reached, or the problem failed
    outcome_reward: float | None  # graded after the choice; None = not graded or failed
    steps: tuple[str, ...]
    score: float | None  # the critic's value of the chosen path; None when no path was complete, or it knows none
    num_complete_paths: int
    usage: TokenUsage
    error: str | None = None


async def solve_with_critic(
    problems: pa.Table,
    session: GenerationSession,
    prompts: PromptStyle,
    config: RolloutsConfig,
    *,
    night: str,
    evaluate: EvaluateFn,
    grade: GradeFn,
    extract_answer: ExtractFn,
    recipe: Recipe = CRITIC_GUIDED,
    pick: PickFn | None = None,
    critics: Mapping[str, EvaluateFn] | None = None,
    reviewer: AgentConfig = STARTER_AGENTS[0],
    corpus: Corpus | None = None,
    max_model_len: int | None = None,
    token_budget: int | None = None,
    trees_in_flight: int = 256,
    on_progress: ProgressFn = no_progress,
) -> list[Solution]:
    """Search each problem guided by a critic and choose an answer by the critic's scores.

    `evaluate` is usually a `critic_evaluator`, and `critics` are further ones for recipes that ask for them; `grade` is
    asked only about the answer that was chosen. `pick` replaces the recipe's own choice among the complete paths
    (`search.picks`). A tree without a complete path is completed greedily from its best leaf. One Solution per problem,
    in order.
    With `token_budget` a search ends before the first request after it has cost as many tokens (prompt, completion and
    critic, of this problem), so that it overshoots by what was under way; None leaves the configured budget alone.
    """
    recipe = recipe.with_parameters(config.exploration, config.beam_width, config.parameters)
    recipe.check_critics(critics or {})
    params = search_params(config, recipe)
    pick_path = pick or recipe.make_pick(recipe.params)
    solutions: list[Solution] = []
    num_tokens = 0

    async def solve_one(problem: Row) -> Solution:
        tree = Tree(f"solve-{problem['problem_id']}-{night}-{config.seed}", problem)
        metered = MeteredSession(session)
        searching = MeteredSession(metered, lambda: token_budget is None or _num_tokens(metered, tree) < token_budget)
        functions = search_functions(
            recipe, searching, prompts, config, evaluate,
            night=night, grade=None, extract_answer=extract_answer, critics=critics, max_model_len=max_model_len,
            reviewer=reviewer, corpus=corpus,
        )  # fmt: skip
        try:
            with suppress(BudgetSpentError):
                await search_tree(tree, functions, params)
            await evaluate_remaining_terminals(tree, functions)
            leaf, score = _chosen_leaf(tree, recipe, extract_answer, pick_path)
            steps, is_truncated = await _complete(tree, leaf, recipe, metered, prompts, config, max_model_len)
        except RequestError as error:
            usage = metered.usage + TokenUsage(critic_tokens=tree.num_critic_tokens)
            return Solution(problem["problem_id"], None, None, (), None, 0, usage, describe_error(error))
        graded = grade_steps(problem, steps, is_truncated, grade, extract_answer)
        return Solution(
            problem_id=problem["problem_id"],
            answer=graded.answer,
            outcome_reward=graded.outcome_reward,
            steps=tuple(steps),
            score=score,
            num_complete_paths=len(recipe.complete_nodes(tree)),
            usage=metered.usage + TokenUsage(critic_tokens=tree.num_critic_tokens),
        )

    def solution_ready(solution: Solution) -> None:
        nonlocal num_tokens
        solutions.append(solution)
        num_tokens += solution.usage.completion_tokens
        on_progress("solve_with_critic", len(solutions), problems.num_rows, {"completion_tokens": float(num_tokens)})

    await run_in_flight(solve_one, problems.to_pylist(), trees_in_flight, solution_ready)
    return solutions


def _num_tokens(metered: MeteredSession, tree: Tree) -> int:
    """Everything that a search has cost so far."""
    return metered.usage.prompt_tokens + metered.usage.completion_tokens + tree.num_critic_tokens


def _chosen_leaf(tree: Tree, recipe: Recipe, extract_answer: ExtractFn, pick: PickFn) -> tuple[int, float | None]:
    """The picked complete path and its score; without one, the best leaf (lowest id on ties) and None."""
    grader = str(tree.problem["grader"])
    paths = []
    for node_id in recipe.complete_nodes(tree):
        path = tree.path(node_id)
        texts = path.step_texts[-1:] if recipe.whole_answers else path.step_texts
        answer = None if path.is_truncated else extract_answer(grader, "\n".join(texts))
        num_samples = tree.visit_count[node_id] if recipe.visits_are_samples else 1
        paths.append(CompletePath(node_id, answer, tree.raw_value[node_id], num_samples))
    answered = [path for path in paths if path.answer is not None]
    if answered:
        chosen = pick(tree, [path for path in answered if path.num_samples] or answered)
        return chosen.node_id, chosen.score if tree.is_known[chosen.node_id] else None
    leaves = [node for node in range(len(tree)) if not tree.children[node] and not tree.is_terminal(node)]
    return max(leaves, key=lambda node: (tree.raw_value[node] or 0.0, -node), default=ROOT), None


async def _complete(
    tree: Tree,
    leaf: int,
    recipe: Recipe,
    session: GenerationSession,
    prompts: PromptStyle,
    config: RolloutsConfig,
    max_model_len: int | None,
) -> tuple[list[str], bool]:
    """Steps of the path to the leaf, completed greedily where it is not complete, and whether it was cut off."""
    path = tree.path(leaf)
    if recipe.whole_answers and path.steps:
        return split_steps(path.steps[-1].step_text, prompts.step_separator), path.is_truncated
    if path.is_terminal:
        return path.step_texts, path.is_truncated
    prompt_token_ids = prompt_of(path, make_encode_problem(prompts, session.tokenizer)) + path.token_ids
    room = tokens_left(max(1, config.max_tokens - len(path.token_ids)), len(prompt_token_ids), max_model_len)
    check_room(room, tree.problem, len(prompt_token_ids), max_model_len)
    sampling = Sampling(0.0, 1.0, room, 1, prompts.completion_stop)
    seed = stable_seed(config.seed, tree.problem["problem_id"], "complete", path.token_ids)
    completion = await session.generate(
        GenerationRequest(prompt_token_ids, sampling, seed, "evaluate", tree.problem["problem_id"])
    )
    sample = completion.samples[0]
    is_truncated = is_cut_off(sample.text, sample.finish_reason, prompts.step_separator)
    return path.step_texts + split_steps(sample.text, prompts.step_separator), is_truncated
