"""Problems -> `search_nodes`, `search_edges`, `rollouts`, `token_usage`, `gold_steps`.

Two ways to make rollouts: trees (`search_rollouts`: every complete path of every tree) and independent
samples (`sample_rollouts`: groups of n per problem). A recipe may also merge samples into trees
(`merged_rollouts`). Many problems are in flight at once so that the
engine is full; the rows come in the order of the problems, whatever the order of the answers.

A problem that fails becomes a row with `error` (one row for a tree, `group_size` rows for a group, so
that rows expected = rows present) while the others go on; `check_error_rate` decides afterwards
whether the night may be green.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.budget import Admission, IsSpentFn, TreeStop, never_spent
from pipelines.config import STARTER_AGENTS, AgentConfig, RolloutsConfig
from pipelines.errors import ConfigError, ErrorRateError
from pipelines.inference.errors import RequestError
from pipelines.inference.types import GenerationRequest, Sampling
from pipelines.problem_rows import TABLES, Collector, ProblemRows, Rollouts, is_engines, rows_of_tree
from pipelines.reasoning.actions import strategies_of
from pipelines.reasoning.assembly import (
    Policy,
    describe_error,
    failed_group_rows,
    sample_rollout_rows,
    tree_id_of,
    tree_rollout_row,
    whole_answer_row,
)
from pipelines.reasoning.evaluate import completion_evaluator, grade_complete_paths
from pipelines.reasoning.functions import search_functions
from pipelines.reasoning.metering import MeteredSession
from pipelines.reasoning.prompts import PromptStyle
from pipelines.reasoning.propose import (
    GenerationSession,
    check_room,
    make_encode_problem,
    search_params,
    tokens_left,
)
from pipelines.reasoning.steps import ExtractFn, GradeFn, UngradedError
from pipelines.records import ProgressFn, TokenUsage, no_progress, stable_digest, stable_seed
from pipelines.retrieval.corpus import Corpus
from pipelines.row_stream import KeepFn
from pipelines.rows import rows_to_table
from pipelines.search.extraction import Row, step_values
from pipelines.search.flight import run_in_flight
from pipelines.search.prefix_tree import prefix_trees
from pipelines.search.recipes import INDEPENDENT_SAMPLES, Recipe, recipe_named
from pipelines.search.search import SearchFunctions, evaluate_remaining_terminals, search_tree
from pipelines.search.tree import Tree
from pipelines.search.types import EvaluateFn, SearchParams
from pipelines.starter import families

FAILURES_OF_A_PROBLEM = (RequestError, UngradedError)
COMPLETIONS = "completions"  # `evaluator_version` of graded completions
SEARCH, SAMPLES = "search", "samples"  # stages
PROBLEMS_PER_BATCH = 256  # rows of `problems` that are Python objects at once


async def search_rollouts(
    problems: pa.Table,
    session: GenerationSession,
    prompts: PromptStyle,
    config: RolloutsConfig,
    *,
    night: str,
    grade: GradeFn,
    extract_answer: ExtractFn,
    evaluate: EvaluateFn | None = None,
    evaluator_version: str = COMPLETIONS,
    critics: Mapping[str, EvaluateFn] | None = None,
    unguided: Collection[str] = (),
    simulations: Mapping[str, int] | None = None,
    num_wanted: int | None = None,
    is_spent: IsSpentFn = never_spent,
    max_model_len: int | None = None,
    recipes: Mapping[str, Recipe] | None = None,
    reviewer: AgentConfig = STARTER_AGENTS[0],
    corpus: Corpus | None = None,
    keep: KeepFn | None = None,
    on_progress: ProgressFn = no_progress,
) -> Rollouts:
    """Search a tree for each problem by `config.recipe` and extract every complete path as a rollout.

    Without `evaluate` leaves are valued by graded completions; with one (a critic) only complete paths
    are graded, but for the problems whose ids are in `unguided`. `evaluator_version` names it in the sampling digest.

    Args:
        critics: further evaluators for recipes that ask for them, by what they judge; not for the `unguided`.
            ConfigError where a parameter gives weight to one that is not here, unless the search is guided: then it
            is here from the second night on.
        simulations: problem id -> simulations of its tree; None: `config.num_simulations` each.
        num_wanted: useful trees after which no further problem begins (`Admission`); None: all problems are wanted.
        is_spent: no tree begins, and none goes on to another simulation, once this says so.
        recipes: adds the user's own.
        reviewer: criticises answers where the recipe refines them.
        corpus: what a recipe with retrieval looks things up in.
        keep: takes the rows while the search goes on, so that they need not stay in memory.
    """
    own = (config.exploration, config.beam_width, config.parameters)
    recipe = recipe_named(config.recipe, recipes).with_parameters(*own)
    if not config.guided:
        recipe.check_critics(critics or {})
    if recipe.merge_samples:
        sample = partial(
            sample_rollouts, problems, session, prompts, config, night=night, grade=grade,
            extract_answer=extract_answer, is_spent=is_spent, max_model_len=max_model_len, recipe=recipe.name,
            on_progress=on_progress,
        )  # fmt: skip
        return await _sample_and_merge(sample, night, keep)
    search = _TreeSearch(
        recipe, session, prompts, config, night, grade, extract_answer, max_model_len,
        shape=replace(search_params(config, recipe), simulations_in_flight=config.simulations_in_flight),
        evaluate=evaluate, evaluator_version=evaluator_version, critics=critics, unguided=unguided,
        simulations=simulations, is_spent=is_spent, reviewer=reviewer, corpus=corpus,
        encode_problem=make_encode_problem(prompts, session.tokenizer),
    )  # fmt: skip
    total = problems.num_rows if num_wanted is None else num_wanted
    collected = Collector(total=total, stage=SEARCH, night=night, keep=keep, on_progress=on_progress)
    admission = Admission(total, is_spent)

    async def search_one(problem: Row) -> ProblemRows:
        made = await search.run(problem)
        admission.ended(made.is_useful)
        return collected.problem_ended(made)

    num_begun = await run_in_flight(
        search_one, _rows_of(problems), config.trees_in_flight, collected.add, admission.may_start
    )  # fmt: skip
    return collected.finish(problems.num_rows - num_begun)


async def sample_rollouts(
    problems: pa.Table,
    session: GenerationSession,
    prompts: PromptStyle,
    config: RolloutsConfig,
    *,
    night: str,
    grade: GradeFn,
    extract_answer: ExtractFn,
    group_size: int | None = None,
    temperature: float | None = None,
    is_spent: IsSpentFn = never_spent,
    max_model_len: int | None = None,
    recipe: str = INDEPENDENT_SAMPLES,
    groups_in_flight: int = 512,
    keep: KeepFn | None = None,
    on_progress: ProgressFn = no_progress,
) -> Rollouts:
    """Draw a group of independent complete solutions per problem, one request per group.

    `group_size` and `temperature` default to the configuration's; greedy decoding is `temperature=0,
    group_size=1`. The two search tables of the result are empty. `recipe` is what the rows are called; the
    samples do not depend on it. No group begins once `is_spent` says so; `keep` takes the rows as they come.
    """
    num_samples = config.group_size if group_size is None else group_size
    heat = config.temperature if temperature is None else temperature
    if heat == 0 and num_samples > 1:
        raise ConfigError(
            f"rollouts.temperature is 0 and rollouts.group_size is {num_samples}: all samples of a group would be "
            "equal. Use a temperature above 0, or a group size of 1 for greedy decoding."
        )
    sampling = Sampling(heat, config.top_p, config.max_tokens, num_samples, prompts.completion_stop)
    digest = stable_digest(sampling.digest(), prompts.digest)
    policy = Policy(session.model_id, session.model_digest, recipe, digest, night, config.seed)
    encode_problem = make_encode_problem(prompts, session.tokenizer)
    stage = SAMPLES if recipe == INDEPENDENT_SAMPLES else SEARCH
    collected = Collector(total=problems.num_rows, stage=stage, night=night, keep=keep, on_progress=on_progress)

    async def sample_one(problem: Row) -> ProblemRows:
        metered = MeteredSession(session)
        seed = stable_seed(config.seed, night, problem["problem_id"], "sample")
        prompt_ids = encode_problem(problem)
        try:
            room = tokens_left(config.max_tokens, len(prompt_ids), max_model_len)
            check_room(room, problem, len(prompt_ids), max_model_len)
            request = GenerationRequest(
                prompt_ids, replace(sampling, max_tokens=room), seed, "sample", problem["problem_id"]
            )
            completion = await metered.generate(request)
        except RequestError as error:
            rows = failed_group_rows(problem, policy, describe_error(error), num_samples)
            return collected.problem_ended(
                ProblemRows(problem["problem_id"], [], [], rows, metered.usage, is_engines(error))
            )
        rows = sample_rollout_rows(
            problem, policy, request, completion, separator=prompts.step_separator,
            grade=grade, extract_answer=extract_answer,
        )  # fmt: skip
        return collected.problem_ended(ProblemRows(problem["problem_id"], [], [], rows, metered.usage, False))

    admission = Admission(problems.num_rows, is_spent)
    num_begun = await run_in_flight(
        sample_one, _rows_of(problems), groups_in_flight, collected.add, admission.may_start
    )  # fmt: skip
    return collected.finish(problems.num_rows - num_begun)


async def _sample_and_merge(sample: Callable[..., Awaitable[Rollouts]], night: str, keep: KeepFn | None) -> Rollouts:
    """Groups of samples as rollouts of their prefix trees; chunks hold whole groups, so each is merged on its own."""
    gathered: dict[str, list[pa.Table]] = {name: [rows_to_table(name, [])] for name in TABLES}

    def gather(table: str, rows: pa.Table) -> None:
        gathered[table].append(rows)

    def merge(table: str, rows: pa.Table) -> None:
        merged = merged_rollouts(rows, night) if table == "rollouts" else {table: rows}
        for name, of_table in merged.items():
            (keep or gather)(name, of_table)

    sampled = await sample(keep=merge)
    return replace(sampled, **{name: pa.concat_tables(tables).combine_chunks() for name, tables in gathered.items()})


def merged_rollouts(rollouts: pa.Table, night: str) -> dict[str, pa.Table]:
    """Groups of samples as rollouts of their prefix trees, one tree per group with a sample that did not fail."""
    rows = rollouts.to_pylist()
    trees = prefix_trees(rows)
    places = {rollout_id: (one.tree, leaf) for one in trees for rollout_id, leaf in one.leaf_of.items()}
    merged = []
    for row in rows:
        tree, leaf = places.get(row["rollout_id"], (None, None))
        place = {"group_id": None, "tree_id": tree and tree.tree_id, "leaf_node_id": leaf}
        place["step_values"] = step_values(tree, leaf)[: len(row["steps"])] if tree else None
        merged.append(row | place)
    return {
        "search_nodes": rows_to_table("search_nodes", [row for one in trees for row in one.node_rows(night)]),
        "search_edges": rows_to_table("search_edges", [row for one in trees for row in one.edge_rows(night)]),
        "rollouts": rows_to_table("rollouts", merged),
    }


def gold_steps(problems: pa.Table, rollouts: pa.Table) -> pa.Table:
    """One row per step of the starter families' rollouts: right or wrong by the generator's own rules."""
    asked = problems.select(["problem_id", "family", "prompt"]).filter(
        pc.and_(pc.equal(problems["source"], "starter"), pc.is_in(problems["problem_id"], rollouts["problem_id"]))
    )  # few of a night's problems are in one chunk of its rollouts
    by_id = {row["problem_id"]: row for row in asked.to_pylist()}
    rows = []
    for rollout in rollouts.select(["rollout_id", "problem_id", "steps", "error", "night"]).to_pylist():
        problem = by_id.get(rollout["problem_id"])
        if problem is None or rollout["error"] is not None or not rollout["steps"]:
            continue
        for step, is_right in enumerate(families.gold_steps(problem["family"], problem["prompt"], rollout["steps"])):
            key = {"rollout_id": rollout["rollout_id"], "step": step}
            rows.append({**key, "is_right": is_right, "night": rollout["night"]})
    return rows_to_table("gold_steps", rows)


def check_error_rate(num_errors: int, num_total: int, max_fraction: float, stage: str = "rollouts") -> None:
    """ErrorRateError when more than `max_fraction` of the work failed, or when all of it did."""
    if num_errors and (num_errors > max_fraction * num_total or num_errors == num_total):
        raise ErrorRateError(
            f"{stage}: {num_errors} of {num_total} failed ({num_errors / num_total:.1%}), and the configuration allows "
            f"{max_fraction:.1%} (key engine.max_error_fraction). Their reasons are in the column `error`; when "
            "they name the engine, its log tells more."
        )


def choose_problems(problems: pa.Table, count: int, *, night: str, seed: int, split: str = "train") -> pa.Table:
    """`count` problems of a split (all, if there are fewer), in the order of a stable hash of night, seed and id.

    Neither choice nor order depends on the order of the table, and every beginning of them is a random draw: where a
    budget or enough useful trees end a search early, no family has been favoured for its name.
    """
    rows = problems.select(["problem_id", "split"]).to_pylist()
    ids = {index: row["problem_id"] for index, row in enumerate(rows) if row["split"] == split}
    drawn = sorted(ids, key=lambda index: (stable_digest(seed, night, ids[index]), ids[index]))[:count]
    return problems.take(pa.array(drawn, type=pa.int64()))


def _rows_of(problems: pa.Table) -> Iterator[Row]:
    """The rows in order, few of them Python objects at a time."""
    for batch in problems.to_batches(max_chunksize=PROBLEMS_PER_BATCH):
        yield from batch.to_pylist()


@dataclass(frozen=True)
class _TreeSearch:
    """What the trees of one search have in common; the arguments of `search_rollouts`."""

    recipe: Recipe
    session: GenerationSession
    prompts: PromptStyle
    config: RolloutsConfig
    night: str
    grade: GradeFn
    extract_answer: ExtractFn
    max_model_len: int | None
    shape: SearchParams
    evaluate: EvaluateFn | None
    evaluator_version: str
    critics: Mapping[str, EvaluateFn] | None
    unguided: Collection[str]
    simulations: Mapping[str, int] | None
    is_spent: IsSpentFn
    reviewer: AgentConfig
    corpus: Corpus | None
    encode_problem: Callable[[Row], tuple[int, ...]]

    async def run(self, problem: Row) -> ProblemRows:
        """Search one problem's tree to its end; every complete path that has a value is a rollout."""
        params, policy = self._plan(problem)
        metered, stop = MeteredSession(self.session), TreeStop(self.is_spent, self.config.stop_when_settled)
        tree = Tree(tree_id_of(problem, policy), problem)
        functions = replace(self._functions(metered, policy, self._critics_of(problem)), is_done=stop)
        failure = await _search_to_the_end(tree, functions, params)
        row_of = (
            partial(whole_answer_row, separator=self.prompts.step_separator)
            if self.recipe.whole_answers
            else tree_rollout_row
        )
        paths = [
            row_of(tree, leaf, policy, self.encode_problem(problem), self.extract_answer)
            for leaf in self.recipe.complete_nodes(tree)
            if tree.raw_value[leaf] is not None
        ]
        made = rows_of_tree(tree, self.recipe.node_kind, paths, failure, policy, stop)
        return replace(made, usage=metered.usage + TokenUsage(critic_tokens=tree.num_critic_tokens))

    def _plan(self, problem: Row) -> tuple[SearchParams, Policy]:
        params, is_guided = self.shape, self.evaluate is not None and problem["problem_id"] not in self.unguided
        if self.simulations is not None:
            params = replace(params, num_simulations=self.simulations[problem["problem_id"]])
        version = self.evaluator_version if is_guided else COMPLETIONS
        digest = self._digest(params, version, self._critics_of(problem))
        model = (self.session.model_id, self.session.model_digest)
        return params, Policy(*model, self.recipe.name, digest, self.night, self.config.seed, is_guided)

    def _critics_of(self, problem: Row) -> Mapping[str, EvaluateFn]:
        return {} if problem["problem_id"] in self.unguided else self.critics or {}

    def _functions(self, metered: MeteredSession, policy: Policy, critics: Mapping[str, EvaluateFn]) -> SearchFunctions:
        known = {
            "grade": self.grade, "extract_answer": self.extract_answer, "night": self.night,
            "max_model_len": self.max_model_len,
        }  # fmt: skip
        if policy.is_guided:
            value = grade_complete_paths(self.evaluate, self.grade, self.extract_answer)
        else:
            value = completion_evaluator(metered, self.prompts, self.config, **known)
        return search_functions(
            self.recipe, metered, self.prompts, self.config, value, critics=critics, reviewer=self.reviewer,
            corpus=self.corpus, **known,
        )  # fmt: skip

    def _digest(self, params: SearchParams, evaluator_version: str, critics: Collection[str]) -> str:
        recipe, config, prompts = self.recipe, self.config, self.prompts
        return stable_digest(
            asdict(params), recipe.name, recipe.exploration, config.temperature, config.top_p, config.step_max_tokens,
            config.max_tokens, config.num_evaluations, prompts.digest, evaluator_version,
            *(() if recipe.beam_width is None else (recipe.beam_width,)),
            *(() if recipe.params is None else (asdict(recipe.params),)),
            *((tuple(sorted(critics)),) if critics else ()),
            *(() if "refine" not in recipe.needs else (self.reviewer.name, self.reviewer.role_prompt)),
            *((self.corpus.digest,) if self.corpus and "retrieval" in recipe.needs else ()),
            *([one.model_dump() for one in strategies_of(config, prompts)] if "strategies" in recipe.needs else ()),
            *([one.model_dump() for one in config.strategies] if "actions" in recipe.needs else ()),
        )  # fmt: skip


async def _search_to_the_end(tree: Tree, functions: SearchFunctions, params: SearchParams) -> Exception | None:
    """Search a tree and value its complete paths; the error that ended it, or None."""
    try:
        await search_tree(tree, functions, params)
        await evaluate_remaining_terminals(tree, functions)
    except FAILURES_OF_A_PROBLEM as error:
        return error
    return None
