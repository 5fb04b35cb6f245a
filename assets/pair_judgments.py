"""Asset `pair_judgments`: the policy as a judge of tonight's preference pairs, in both orders."""

import dagster as dg
import pyarrow as pa

from assets.launchpad import launchpad_config, pipeline_config
from assets.resources import RunServices, Work, prompts_of
from assets.specs import ENGINE_POOL, Pipeline, asset_traits
from assets.writing import read_night, write_night
from pipelines.config import PairJudgmentsConfig, Settings
from pipelines.errors import ConfigError
from pipelines.inference.session import Session
from pipelines.judges.position_consistency import by_judge
from pipelines.lake import Lake
from pipelines.pair_judgments import judge_pairs
from pipelines.records import ProgressFn
from pipelines.tables import SCHEMAS

SOURCES = (
    "pipelines/pair_judgments.py", "pipelines/judges/pair_reader.py", "pipelines/self_verdicts.py",
    "pipelines/reasoning/prompts", "sql/pair_judgments",
)  # fmt: skip
KINDS = {"vllm", "parquet"}
INPUTS = ("problems", "preference_pairs")


def judging(
    settings: Settings, config: PairJudgmentsConfig, problems: pa.Table, pairs: pa.Table, night: str
) -> Work[pa.Table]:
    """The work of this stage, for a session of the run."""

    async def work(session: Session, on_progress: ProgressFn) -> pa.Table:
        return await judge_pairs(
            problems, pairs, session, prompts_of(settings), config, night=night,
            max_model_len=session.max_model_len or settings.policy.max_model_len,
            max_error_fraction=settings.engine.max_error_fraction, on_progress=on_progress,
        )  # fmt: skip

    return work


def yields(rows: pa.Table) -> dict[str, float]:
    """How often the label changed with the order, where both could be read; nothing where no pair was."""
    known = [row["inconsistency"] for row in by_judge(rows) if row["inconsistency"] is not None]
    return {"position_inconsistency": known[0]} if known else {}


def pair_judgments_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The judgments, as one step on the run's engine; where no pair is wanted, no engine is asked.

    A policy that can judge no pair (no `judge_pair` template, no verdict tokens) has none, and the log says so.
    """
    config = (settings.pair_judgments, settings.policy)
    pipeline = Pipeline("pair_judgments", "1", SOURCES, config, workspace=("prompts",))
    Launchpad = launchpad_config(settings.pair_judgments)

    @dg.asset(
        **asset_traits(settings, pipeline, "pair_judgments", kinds=KINDS, deps=[*INPUTS]),
        pool=ENGINE_POOL,
    )
    def pair_judgments(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
        services: dg.ResourceParam[RunServices],
    ) -> dg.MaterializeResult:
        """One row per judged pair and order in which its sides were shown: what the policy says as a judge."""
        night, chosen = context.partition_key, pipeline_config(config, PairJudgmentsConfig)
        with lake.lease(f"pair_judgments/{night}"):
            rows, numbers, engine = SCHEMAS["pair_judgments"].empty_table(), {}, None
            inputs = [read_night(lake, table, night) for table in INPUTS]
            if chosen.num_pairs and inputs[-1].num_rows:
                try:
                    rows, use = services.generate(context, judging(settings, chosen, *inputs, night))
                    numbers, engine = use.numbers(), use.engine
                except ConfigError as error:  # a night goes on without a measure of its judge
                    context.log.warning(f"No pair is judged: {error}")
            return write_night(
                lake, "pair_judgments", rows, night, upstream=INPUTS, numbers=yields(rows) | numbers, engine=engine
            )

    return [pair_judgments]
