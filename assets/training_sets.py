"""Assets `sft`, `preference`, `stepwise`, `prompts` and `rl_groups`: the sets that trainers read."""

from collections.abc import Callable

import dagster as dg

from assets.current_critic import current_critic_dep
from assets.launchpad import launchpad_config, pipeline_config
from assets.partitions import last_night_and_tonight
from assets.resources import prompts_of
from assets.specs import Pipeline, table_specs
from assets.writing import read_night, write_tables
from pipelines.config import Settings, TrainingSetsConfig
from pipelines.inference.session import model_folder
from pipelines.inference.tokens import Tokenizer
from pipelines.lake import Lake
from pipelines.training_sets import build_training_sets

SOURCES = (
    "pipelines/training_sets.py", "pipelines/reasoning/prompts", "pipelines/reasoning/prompts.py",
    "pipelines/search/extraction.py", "sql/training_sets",
)  # fmt: skip
INPUTS = (
    "problems", "rollouts", "search_nodes", "preference_pairs", "consistent_rollouts", "verdicts", "refinements",
    "step_scores",
)  # fmt: skip
EXPLANATIONS = "critique_records"  # of expo and egsr
DESCRIPTIONS = {
    "sft": "One row per right solution for supervised fine-tuning (prompt, completion).",
    "preference": "One row per preference pair with explicit prompt (prompt, chosen, rejected).",
    "stepwise": "One row per searched solution with a label per step (prompt, completions, labels).",
    "prompts": "One row per training problem, prompt and reference answer only.",
    "rl_groups": "One row per kept rollout of a group, with tokens, behaviour log-probabilities and advantage.",
}


def chat_text_of(settings: Settings) -> Callable[[str], str] | None:
    """A user message in the policy's chat template; None where prompts are not chats."""
    if settings.policy.prompt_style != "chat":
        return None
    tokenizer = Tokenizer.load(model_folder(settings.policy.model))
    return lambda text: tokenizer.chat_text([{"role": "user", "content": text}])


def training_sets_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """All training sets of a night, as one step."""
    config = (settings.training_sets, settings.policy)
    pipeline = Pipeline("training_sets", "1", SOURCES, config, workspace=("prompts",))
    Launchpad = launchpad_config(settings.training_sets)
    current = current_critic_dep(last_night_and_tonight())

    @dg.multi_asset(
        name="training_sets",
        specs=table_specs(
            settings,
            pipeline,
            DESCRIPTIONS,
            kinds=dict.fromkeys(DESCRIPTIONS, {"duckdb", "parquet"}),
            deps=[*INPUTS, EXPLANATIONS, current],
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
            inputs = [read_night(lake, table, night) for table in INPUTS]
            chosen = pipeline_config(config, TrainingSetsConfig)
            records = read_night(lake, EXPLANATIONS, night)
            sets = build_training_sets(*inputs, prompts_of(settings), chosen, night, chat_text_of(settings), records)
            yield from write_tables(lake, sets, night, upstream=(*INPUTS, EXPLANATIONS), numbers={})

    return [training_sets]
