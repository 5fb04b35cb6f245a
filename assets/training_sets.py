"""Assets `sft`, `preference`, `stepwise`, `prompts` and `rl_groups`: the sets that trainers read."""

from collections.abc import Callable
from dataclasses import fields

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from assets.current_critic import current_critic_dep
from assets.known_problems import require_problems
from assets.launchpad import launchpad_config, pipeline_config
from assets.partitions import last_night_and_tonight
from assets.resources import prompts_of
from assets.specs import Pipeline, table_specs
from assets.writing import read_night, scan_night, write_tables
from pipelines.agents.training_rows import Asking, CritiqueTables, with_critique_rows
from pipelines.config import Settings, TrainingSetsConfig
from pipelines.datasets.certificate import without_overlaps
from pipelines.inference.session import model_folder
from pipelines.inference.tokens import Tokenizer
from pipelines.lake import Lake
from pipelines.training_sets import build_training_sets

SOURCES = (
    "pipelines/training_sets.py", "pipelines/reasoning/prompts", "pipelines/reasoning/prompts.py",
    "pipelines/search/extraction.py", "sql/training_sets", "pipelines/agents/training_rows.py",
    "pipelines/agents/judge_data.py", "pipelines/agents/rewards.py", "sql/critiques",
    "pipelines/datasets/certificate.py", "pipelines/audit/contamination.py",
)  # fmt: skip
INPUTS = (
    "problems", "rollouts", "search_nodes", "preference_pairs", "consistent_rollouts", "verdicts", "refinements",
    "step_scores",
)  # fmt: skip
CRITIQUE_INPUTS = ("critiques", "critique_records")
"""Beside INPUTS, for what trains critics and judges; the records hold explanations of expo and egsr too."""
LARGE = ("rollouts", "consistent_rollouts", "step_scores")  # left in their files until a query wants columns of them
REPLAY = "replay"
DESCRIPTIONS = {
    "sft": "One row per right solution for supervised fine-tuning (prompt, completion).",
    "preference": "One row per preference pair with explicit prompt (prompt, chosen, rejected).",
    "stepwise": "One row per searched solution with a label per step (prompt, completions, labels).",
    "prompts": "One row per training problem, prompt and reference answer only.",
    "rl_groups": "One row per kept rollout of a group, with tokens, behaviour log-probabilities and advantage.",
}


class BenchmarkFiles(BaseModel):
    """What of the section `publishing` the sets depend on where overlaps are left out."""

    benchmarks: tuple[str, ...]
    benchmark_field: str


def chat_text_of(settings: Settings) -> Callable[[str], str] | None:
    """A user message in the policy's chat template; None where prompts are not chats."""
    if settings.policy.prompt_style != "chat":
        return None
    tokenizer = Tokenizer.load(model_folder(settings.policy.model))
    return lambda text: tokenizer.chat_text([{"role": "user", "content": text}])


def replay_share(sft: pa.Table) -> float:
    """Share of the rows that nights before made; 0 of no rows."""
    return pc.sum(pc.equal(sft["origin"], REPLAY)).as_py() / sft.num_rows if sft.num_rows else 0.0


def training_sets_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """All training sets of a night, as one step."""
    config = [settings.training_sets, settings.policy, *settings.critiques.agents]
    if settings.training_sets.leave_out_overlaps:
        config.append(BenchmarkFiles(**settings.publishing.model_dump(include=set(BenchmarkFiles.model_fields))))
    pipeline = Pipeline("training_sets", "1", SOURCES, tuple(config), workspace=("prompts",))
    Launchpad = launchpad_config(settings.training_sets)
    current = current_critic_dep(last_night_and_tonight())

    @dg.multi_asset(
        name="training_sets",
        specs=table_specs(
            settings,
            pipeline,
            DESCRIPTIONS,
            kinds=dict.fromkeys(DESCRIPTIONS, {"duckdb", "parquet"}),
            deps=[*INPUTS, *CRITIQUE_INPUTS, REPLAY, current],
        ),
    )
    def training_sets(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
    ):
        """Puts tonight's training data into the trainers' own columns."""
        night = context.partition_key
        with lake.lease(f"training_sets/{night}"):
            require_problems(lake, night)
            inputs = {
                table: (scan_night if table in LARGE else read_night)(lake, table, night)
                for table in (*INPUTS, *CRITIQUE_INPUTS, REPLAY)
            }
            left_out = {}
            if config.leave_out_overlaps:
                inputs["problems"], num_left_out = without_overlaps(inputs["problems"], settings)
                left_out = {name: {"problems_left_out": float(num_left_out)} for name in DESCRIPTIONS}
            chosen, chat_text = pipeline_config(config, TrainingSetsConfig), chat_text_of(settings)
            asking = Asking(prompts_of(settings), settings.critiques.agents, chat_text)
            own = [inputs[table] for table in INPUTS]
            sets = build_training_sets(
                *own, asking.prompts, chosen, night, chat_text,
                replay=inputs[REPLAY], critique_records=inputs["critique_records"],
            )  # fmt: skip
            replayed = replay_share(sets["sft"])
            tables = CritiqueTables(**{one.name: inputs[one.name] for one in fields(CritiqueTables)})
            sets, numbers = with_critique_rows(sets, tables, asking, chosen, night)
            more = {"sft": {"replay_share": replayed}}
            numbers = {
                name: {**more.get(name, {}), **left_out.get(name, {}), **numbers.get(name, {})} for name in DESCRIPTIONS
            }
            yield from write_tables(lake, sets, night, upstream=tuple(inputs), numbers=numbers)

    return [training_sets]
