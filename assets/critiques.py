"""Assets `critiques`, `critique_units`, `verdicts`, `refinements` and `critique_records`."""

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.checks import work_result, work_spec
from assets.launchpad import launchpad_config, pipeline_config
from assets.resources import RunServices, Work, prompts_of
from assets.specs import ENGINE_POOL, Pipeline, table_specs
from assets.writing import read_night, write_tables
from pipelines.config import CritiquesConfig, Settings
from pipelines.critiques import Critiques, criticise
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.session import Session
from pipelines.lake import Lake
from pipelines.records import ProgressFn

SOURCES = ("pipelines/critiques.py", "pipelines/agents", "pipelines/reasoning", "pipelines/grading")
KINDS = {
    "critiques": {"vllm", "parquet"},
    "critique_units": {"vllm", "parquet"},
    "verdicts": {"python", "parquet"},
    "refinements": {"vllm", "parquet"},
    "critique_records": {"vllm", "parquet"},
}
DESCRIPTIONS = {
    "critiques": "One row per criticised rollout and agent: what that agent said, step by step.",
    "critique_units": "One row per flaw that an agent found: where, what, what else, and what others say of it.",
    "verdicts": "One row per criticised rollout: the agents' aggregate, with confidence and first error step.",
    "refinements": "One row per refinement of a rollout that the verdict calls wrong, graded.",
    "critique_records": "One row per thing to learn from that another method of agents made, or its reason why not.",
}


def yields(made: Critiques) -> dict[str, dict[str, float]]:
    """Per table: how many verdicts say wrong, how many refinements are right."""
    num_wrong = made.verdicts["verdict"].to_pylist().count("wrong")
    num_repaired = pc.sum(made.refinements["outcome_reward"]).as_py() or 0.0
    num_refined = made.refinements.num_rows
    num_units, num_records = made.critique_units.num_rows, made.critique_records.num_rows
    num_kept_units, num_kept = (
        pc.sum(table["kept"]).as_py() or 0 for table in (made.critique_units, made.critique_records)
    )
    return {
        "verdicts": {"wrong_share": num_wrong / made.verdicts.num_rows if made.verdicts.num_rows else 0.0},
        "critique_units": {"kept_share": num_kept_units / num_units if num_units else 0.0},
        "refinements": {"right_share": num_repaired / num_refined if num_refined else 0.0},
        "critique_records": {"kept_share": num_kept / num_records if num_records else 0.0} | kept_shares(made),
    }


def kept_shares(made: Critiques) -> dict[str, float]:
    """Per method of agents, the share of its records that are worth learning from."""
    kept = made.critique_records.select(["method"]).append_column(
        "kept", made.critique_records["kept"].cast(pa.int64())
    )
    rows = kept.group_by("method").aggregate([("kept", "mean")]).to_pylist()
    return {f"kept_share_{row['method']}": row["kept_mean"] for row in sorted(rows, key=lambda row: row["method"])}


def critique_rounds(
    settings: Settings, config: CritiquesConfig, problems: pa.Table, rollouts: pa.Table, night: str
) -> Work[Critiques]:
    """The work of this stage, for a session of the run."""

    async def work(session: Session, on_progress: ProgressFn) -> Critiques:
        return await criticise(
            problems, rollouts, session, config, prompts_of(settings), night=night, grade=graders_of(settings),
            extract_answer=extract_answer, max_error_fraction=settings.engine.max_error_fraction,
            max_model_len=session.max_model_len or settings.policy.max_model_len,
            on_progress=on_progress,
        )  # fmt: skip

    return work


def critiques_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Criticism, verdict and refinement, as one step on the run's engine."""
    config = (settings.critiques, settings.policy)
    pipeline = Pipeline("critiques", "1", SOURCES, config, workspace=("graders", "prompts"))
    Launchpad = launchpad_config(settings.critiques)

    @dg.multi_asset(
        name="critiques",
        pool=ENGINE_POOL,
        check_specs=[work_spec(settings, "critiques")],
        specs=table_specs(settings, pipeline, DESCRIPTIONS, kinds=KINDS, deps=["problems", "rollouts"]),
    )
    def critiques(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
        services: dg.ResourceParam[RunServices],
    ):
        """Agents criticise tonight's independent samples; wrong ones are refined."""
        night = context.partition_key
        with lake.lease(f"critiques/{night}"):
            inputs = [read_night(lake, table, night) for table in ("problems", "rollouts")]
            chosen = pipeline_config(config, CritiquesConfig)
            made, use = services.generate(context, critique_rounds(settings, chosen, *inputs, night))
            numbers = yields(made) | {"critiques": use.numbers()}
            yield from write_tables(
                lake, vars(made), night, upstream=["problems", "rollouts"], numbers=numbers, engine=use.engine
            )
            num_rows = made.critiques.num_rows + made.critique_records.num_rows
            yield work_result("critiques", num_rows, use, is_wanted=chosen.num_rollouts > 0)

    return [critiques]
