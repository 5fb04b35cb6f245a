"""Assets `search_nodes`, `search_edges`, `rollouts`, `token_usage` and `gold_steps`: tree search and samples.

Five tables, one step: a tree yields nodes, edges and rollouts at once, and search and samples share one session.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from assets.checks import work_result, work_spec
from assets.critics import generative_section, guide_loader
from assets.current_critic import current_critic_dep
from assets.guidance import Guide, current_guide
from assets.launchpad import launchpad_config, pipeline_config
from assets.partitions import last_night
from assets.resources import RunServices, engine_owner_pid, prompts_of, root_run_id
from assets.specs import ENGINE_POOL, Pipeline, table_specs
from assets.tree_pages import tree_pages
from assets.writing import ENGINE, NightStream, generations_until, lineage_of, read_night, stream_tables
from critics.generative import GenerativeScorer, generative_scorer, judge_model
from critics.score import LoadScorer, load_critic
from pipelines.budget import PassCount, TokenBudget, allocate_simulations, unguided_problems
from pipelines.config import RolloutsConfig, Settings
from pipelines.configured import chosen_recipe, own_recipes
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.session import Session
from pipelines.lake import Lake
from pipelines.problem_rows import Rollouts
from pipelines.records import ProgressFn
from pipelines.retrieval.corpus import Corpus, load_corpus
from pipelines.rollouts import check_error_rate, choose_problems, gold_steps, sample_rollouts, search_rollouts
from pipelines.row_stream import KeepFn
from pipelines.search.recipes import NEEDS, RECIPES
from pipelines.warehouse import Warehouse

SOURCES = (
    "pipelines/rollouts.py", "pipelines/problem_rows.py", "pipelines/budget.py", "pipelines/search",
    "pipelines/reasoning", "pipelines/retrieval", "pipelines/grading",
    "pipelines/starter/families.py", "assets/guidance.py", "sql/rollouts",
)  # fmt: skip
KINDS = {
    "search_nodes": {"vllm", "parquet"},
    "search_edges": {"vllm", "parquet"},
    "rollouts": {"vllm", "parquet"},
    "token_usage": {"vllm", "parquet"},
    "gold_steps": {"python", "parquet"},
}
DESCRIPTIONS = {
    "search_nodes": "One row per node of a search tree; (tree_id, node_id) is the key.",
    "search_edges": "One row per edge of a search tree, also where several parents lead to one node.",
    "rollouts": "One row per complete root-to-answer path, from a tree or sampled on its own, failed ones included.",
    "token_usage": "One row per problem and stage: requests and tokens that its tree or its samples cost.",
    "gold_steps": "One row per rollout step of the starter families, right or wrong by the generator's own rules.",
}


@dataclass(frozen=True)
class NightPlan:
    """What tonight's search and samples are to be."""

    night: str
    to_search: pa.Table  # drawn problems; with oversampling more than are wanted
    num_wanted: int  # useful trees after which no further one begins
    to_sample: pa.Table
    simulations: Mapping[str, int]  # problem id -> simulations of its tree
    guide: Guide | None  # None: completions value all leaves
    unguided: frozenset[str]  # problems that are searched without the guide
    lineage: Mapping[str, str]  # `table/partition` -> generation of what was read of earlier nights


def plan_night(
    settings: Settings,
    config: RolloutsConfig,
    lake: Lake,
    problems: pa.Table,
    night: str,
    load: LoadScorer = load_critic,
    generative: Callable[[], GenerativeScorer] | None = None,
) -> NightPlan:
    """Draws tonight's problems and shares the simulations out by what earlier nights tell of them.

    ConfigError where the configured recipe or a parameter of it is not there: before anything is sampled.
    """
    chosen_recipe(settings, config)
    draw = partial(choose_problems, problems, night=night, seed=config.seed)
    to_search = draw(math.ceil(round(config.num_search_problems * config.oversample, 9)))
    ids = to_search["problem_id"].to_pylist()
    lineage: dict[str, str] = {}
    seen: dict[str, PassCount] = {}
    if config.allocation == "knapsack":
        seen = pass_history(lake, night)
        earlier = [manifest for manifest in lake.manifests("rollouts") if manifest.partition < night]
        lineage |= {f"rollouts/{manifest.partition}": manifest.generation for manifest in earlier}
    guide = current_guide(settings, lake, night, load, generative) if config.guided else None
    if guide is not None and guide.night is not None:
        lineage[f"critics/{guide.night}"] = lake.generation("critics", guide.night)
        promotions = generations_until(lake, "critic_promotions", night)
        lineage |= {key: generation for key, generation in promotions.items() if not key.endswith(f"/{night}")}
    return NightPlan(
        night, to_search, min(config.num_search_problems, to_search.num_rows), draw(config.num_sample_problems),
        allocate_simulations(ids, seen, config), guide,
        unguided_problems(ids, night, config.unguided_share) if guide else frozenset(ids), lineage,
    )  # fmt: skip


def pass_history(lake: Lake, night: str) -> dict[str, PassCount]:
    """Problem -> how often it was solved when it was last sampled before this night."""
    with Warehouse(lake, tables=["rollouts"]) as warehouse:
        rows = warehouse.named("rollouts/pass_history", night=night).to_pylist()
    return {row["problem_id"]: PassCount(row["num_right"], row["num_tried"]) for row in rows}


async def explore(
    session: Session,
    settings: Settings,
    config: RolloutsConfig,
    plan: NightPlan,
    on_progress: ProgressFn,
    keep: KeepFn | None = None,
) -> tuple[Rollouts, Rollouts]:
    """Tonight's trees and tonight's groups of independent samples, both of training problems.

    The samples come first: what a token budget leaves of them goes to the trees.
    """
    known = {"night": plan.night, "grade": graders_of(settings), "extract_answer": extract_answer, "keep": keep}
    known["max_model_len"] = session.max_model_len or settings.policy.max_model_len
    known["on_progress"] = on_progress
    known["is_spent"] = TokenBudget(config.max_total_tokens, session.stats).is_spent
    prompts = prompts_of(settings)
    guided = {}
    if plan.guide is not None:
        critics = plan.guide.critics(chosen_recipe(settings, config), prompts, session)
        guided = {"evaluate": plan.guide.evaluator(prompts, session), "evaluator_version": plan.guide.version}
        guided["critics"] = critics
    sampled = await sample_rollouts(plan.to_sample, session, prompts, config, **known)
    searched = await search_rollouts(
        plan.to_search, session, prompts, config, recipes=own_recipes(settings, config),
        reviewer=settings.critiques.agents[0], corpus=corpus_of(settings, config), **known, **guided,
        unguided=plan.unguided, simulations=plan.simulations, num_wanted=plan.num_wanted,
    )  # fmt: skip
    return searched, sampled


def problems_of(plan: NightPlan) -> pa.Table:
    """Every problem that is searched or sampled tonight, some of them twice."""
    return pa.concat_tables([plan.to_search, plan.to_sample])


def corpus_of(settings: Settings, config: RolloutsConfig) -> Corpus | None:
    """The user's corpus, read where the configured recipe looks things up and a corpus is named; else None."""
    recipe = chosen_recipe(settings, config)
    if "retrieval" not in recipe.needs or settings.retrieval.corpus is None:
        return None
    return load_corpus(settings.in_workspace(settings.retrieval.corpus), settings.retrieval)


def needs_of(settings: Settings) -> Collection[str]:
    """What the configured recipe needs; of a recipe of the user's that is not known, so it may need everything."""
    recipe = RECIPES.get(settings.rollouts.recipe)
    return NEEDS if recipe is None else recipe.needs


def sections_of(settings: Settings) -> tuple[BaseModel, ...]:
    """The configuration sections that the rows depend on."""
    needs = needs_of(settings)
    reviewer = (settings.critiques.agents[0],) if "refine" in needs else ()
    retrieval = (settings.retrieval,) if "retrieval" in needs else ()
    return (search_section(settings), settings.policy, *reviewer, *retrieval)


def search_section(settings: Settings) -> RolloutsConfig:
    """The section `rollouts` with the default number of trees at once, which changes no tree and makes none stale."""
    return settings.rollouts.model_copy(update={"trees_in_flight": RolloutsConfig().trees_in_flight})


@dataclass
class RolloutYields:
    """How many rollouts came out, of which kind, and how many of the graded ones are right."""

    num_tree_rollouts: int = 0
    num_samples: int = 0
    num_graded: int = 0
    num_right: float = 0.0

    def add(self, rollouts: pa.Table) -> None:
        """Counts further rows."""
        num_samples = rollouts.num_rows - rollouts["group_id"].null_count
        self.num_samples += num_samples
        self.num_tree_rollouts += rollouts.num_rows - num_samples
        self.num_graded += rollouts.num_rows - rollouts["outcome_reward"].null_count
        self.num_right += pc.sum(rollouts["outcome_reward"]).as_py() or 0.0

    def numbers(self) -> dict[str, float]:
        """The same as metadata entries, with the share that is right."""
        share = self.num_right / self.num_graded if self.num_graded else 0.0
        return {
            "num_tree_rollouts": self.num_tree_rollouts,
            "num_samples": self.num_samples,
            "num_graded": self.num_graded,
            "right_share": share,
        }


def search_numbers(searched: Rollouts) -> dict[str, int]:
    """What became of the drawn trees."""
    names = ("num_not_started", "num_useful", "num_guided", "num_settled", "num_cut_short")
    return {"num_trees": searched.num_problems, **{name: getattr(searched, name) for name in names}}


def keeping(stream: NightStream, problems: pa.Table, yields: RolloutYields) -> KeepFn:
    """Streams rows to their tables, counts rollouts, and adds the gold steps of those whose rules are known."""

    def keep(table: str, rows: pa.Table) -> None:
        stream.keep(table, rows)
        if table == "rollouts":
            yields.add(rows)
            stream.keep("gold_steps", gold_steps(problems, rows))

    return keep


def rollouts_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Search and independent samples, as one step on one engine."""
    workspace = ("graders", "recipes", "prompts", *(("corpus",) if "retrieval" in needs_of(settings) else ()))
    guiding = generative_section(settings) if settings.rollouts.guided else ()
    pipeline = Pipeline("rollouts", "1", SOURCES, (*sections_of(settings), *guiding), workspace=workspace)
    Launchpad = launchpad_config(settings.rollouts)
    guides = [current_critic_dep(last_night())] if settings.rollouts.guided else []

    @dg.multi_asset(
        name="rollouts",
        pool=ENGINE_POOL,
        check_specs=[work_spec(settings, "rollouts")],
        specs=table_specs(settings, pipeline, DESCRIPTIONS, kinds=KINDS, deps=["problems", *guides]),
    )
    def rollouts(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
        services: dg.ResourceParam[RunServices],
    ):
        """Searches trees and draws groups of independent samples for tonight's problems."""
        night = context.partition_key
        with lake.lease(f"rollouts/{night}"):
            chosen, problems = pipeline_config(config, RolloutsConfig), read_night(lake, "problems", night)
            load = guide_loader(settings, chosen, root_run_id(context), engine_owner_pid(context))
            generative = partial(generative_scorer, settings, services.opener(context, judge_model(settings)))
            plan, yields = plan_night(settings, chosen, lake, problems, night, load, generative), RolloutYields()
            with stream_tables(lake, DESCRIPTIONS, night) as stream:
                keep = keeping(stream, problems_of(plan), yields)
                work = partial(explore, settings=settings, config=chosen, plan=plan, keep=keep)
                (searched, sampled), use = services.generate(context, work)
                num_problems = searched.num_problems + sampled.num_problems
                num_errors = searched.num_errors + sampled.num_errors
                check_error_rate(num_errors, num_problems, settings.engine.max_error_fraction)
                stream.commit({**lineage_of(lake, ["problems"], night), **plan.lineage, ENGINE: use.engine})
            with Warehouse(lake, tables=["problems", *DESCRIPTIONS]) as warehouse:
                pages = tree_pages(settings, warehouse, night)
            numbers = {
                "search_nodes": {**search_numbers(searched), **pages},
                "rollouts": {
                    **yields.numbers(), **use.numbers(), "num_problems": num_problems,
                    "num_groups_not_started": sampled.num_not_started,
                },
            }  # fmt: skip
            yield from stream.described(numbers)
            yield work_result("rollouts", stream.num_rows("rollouts"), use)

    return [rollouts]
