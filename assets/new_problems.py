"""Asset `new_problems`: what the policy poses itself, for the training problems of later nights."""

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.launchpad import launchpad_config, pipeline_config
from assets.resources import RunServices, Work, prompts_of
from assets.specs import ENGINE_POOL, Pipeline, asset_traits
from assets.writing import read_night, write_night
from pipelines.config import NewProblemsConfig, Settings
from pipelines.grading import extract_answer
from pipelines.inference.session import Session
from pipelines.lake import Lake
from pipelines.new_problems import benchmarks_of, made_problems, pose_problems
from pipelines.records import ProgressFn
from pipelines.tables import SCHEMAS

SOURCES = (
    "pipelines/new_problems.py", "pipelines/posing", "pipelines/agents/ask.py", "pipelines/audit/contamination.py",
    "pipelines/reasoning/prompts", "pipelines/starter/families.py", "sql/new_problems",
)  # fmt: skip
KINDS = {"vllm", "parquet"}


def posing(
    settings: Settings,
    config: NewProblemsConfig,
    problems: pa.Table,
    rollouts: pa.Table,
    made_before: pa.Table,
    night: str,
) -> Work[pa.Table]:
    """The work of this stage, for a session of the run."""
    benchmarks = benchmarks_of(settings)

    async def work(session: Session, on_progress: ProgressFn) -> pa.Table:
        return await pose_problems(
            problems, rollouts, session, prompts_of(settings), config, night=night, made_before=made_before,
            held_out_fraction=settings.problems.held_out_fraction, benchmarks=benchmarks,
            extract_answer=extract_answer, max_model_len=session.max_model_len or settings.policy.max_model_len,
            max_error_fraction=settings.engine.max_error_fraction, on_progress=on_progress,
        )  # fmt: skip

    return work


def yields(rows: pa.Table) -> dict[str, float]:
    """How many were kept, and how many went for which reason."""
    reasons = pc.value_counts(rows["reason"].drop_null()).to_pylist()
    return {
        "num_kept": pc.sum(rows["kept"]).as_py() or 0,
        **{f"num_{one['values']}": one["counts"] for one in sorted(reasons, key=lambda one: one["values"])},
    }


def new_problems_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """New problems, as one step on the run's engine; without a method there are none, and no engine is asked."""
    config = (settings.new_problems, settings.policy)
    pipeline = Pipeline("new_problems", "1", SOURCES, config, workspace=("prompts",))
    Launchpad = launchpad_config(settings.new_problems)

    @dg.asset(
        **asset_traits(settings, pipeline, "new_problems", kinds=KINDS, deps=["problems", "rollouts"]),
        pool=ENGINE_POOL,
    )
    def new_problems(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
        services: dg.ResourceParam[RunServices],
    ) -> dg.MaterializeResult:
        """One row per problem that the policy was asked to pose: kept, or the reason why not."""
        night, chosen = context.partition_key, pipeline_config(config, NewProblemsConfig)
        with lake.lease(f"new_problems/{night}"):
            rows, numbers, engine, lineage = SCHEMAS["new_problems"].empty_table(), {}, None, {}
            if chosen.methods:
                made_before, lineage = made_problems(lake, except_night=night)
                inputs = [read_night(lake, table, night) for table in ("problems", "rollouts")]
                rows, use = services.generate(context, posing(settings, chosen, *inputs, made_before, night))
                numbers, engine = use.numbers(), use.engine
            return write_night(
                lake, "new_problems", rows, night, upstream=["problems", "rollouts"], numbers=yields(rows) | numbers,
                engine=engine, also_from=lineage,
            )  # fmt: skip

    return [new_problems]
