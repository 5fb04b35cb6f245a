"""Asset `token_scores`: what models say of the tokens of tonight's rollouts."""

from functools import partial

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.checks import work_result, work_spec
from assets.launchpad import launchpad_config, pipeline_config
from assets.resources import GenerationUse, RunServices, total_use
from assets.specs import ENGINE_POOL, Pipeline, asset_traits
from assets.writing import read_night, write_night
from pipelines.config import Settings, TokenScoresConfig
from pipelines.inference.session import Session
from pipelines.lake import Lake
from pipelines.records import ProgressFn
from pipelines.token_scores import score_rollouts

SOURCES = ("pipelines/token_scores.py", "pipelines/inference/score.py")
KINDS = {"vllm", "parquet"}
POLICY = "policy"


async def score_night(
    session: Session,
    settings: Settings,
    config: TokenScoresConfig,
    rollouts: pa.Table,
    night: str,
    on_progress: ProgressFn,
) -> pa.Table:
    """Scores of tonight's rollouts under the session's model."""
    return await score_rollouts(
        rollouts, session, config, night=night, max_error_fraction=settings.engine.max_error_fraction,
        on_progress=on_progress,
    )  # fmt: skip


def score_with_all(
    context: dg.AssetExecutionContext,
    services: RunServices,
    settings: Settings,
    config: TokenScoresConfig,
    rollouts: pa.Table,
    night: str,
) -> tuple[pa.Table, GenerationUse]:
    """Scores under every configured model, one after the other; two names of one model give its rows once."""
    tables, uses = {}, []
    for model in config.models:
        work = partial(score_night, settings=settings, config=config, rollouts=rollouts, night=night)
        rows, use = services.generate(context, work, model=None if model == POLICY else model)
        tables[tuple(rows["model_digest"].unique().to_pylist())] = rows
        uses.append(use)
    return pa.concat_tables(tables.values()), total_use(uses)


def yields(rows: pa.Table) -> dict[str, float]:
    """Mean log-probability per token, and mean self-certainty of the completions where it is known."""
    num_tokens = pc.sum(rows["num_tokens"]).as_py() or 0
    sum_logprob = pc.sum(rows["sum_logprob"]).as_py() or 0.0
    return {
        "mean_logprob": sum_logprob / num_tokens if num_tokens else 0.0,
        "mean_self_certainty": pc.mean(rows["self_certainty"]).as_py() or 0.0,
    }


def token_scores_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The scores, as one step on the engines of the run."""
    pipeline = Pipeline("token_scores", "1", SOURCES, (settings.token_scores, settings.policy))
    Launchpad = launchpad_config(settings.token_scores)

    @dg.asset(
        **asset_traits(settings, pipeline, "token_scores", kinds=KINDS, deps=["rollouts"]),
        pool=ENGINE_POOL,
        check_specs=[work_spec(settings, "token_scores")],
    )
    def token_scores(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
        services: dg.ResourceParam[RunServices],
    ):
        """One row per scored rollout and model: log-probabilities and entropies of its completion tokens."""
        night = context.partition_key
        with lake.lease(f"token_scores/{night}"):
            chosen, rollouts = pipeline_config(config, TokenScoresConfig), read_night(lake, "rollouts", night)
            rows, use = score_with_all(context, services, settings, chosen, rollouts, night)
            numbers = yields(rows) | use.numbers()
            yield write_night(
                lake, "token_scores", rows, night, upstream=["rollouts"], numbers=numbers, engine=use.engine
            )
            yield work_result("token_scores", rows.num_rows, use, is_wanted=chosen.num_rollouts > 0)

    return [token_scores]
