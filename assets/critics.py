"""Assets `process_critic` and `step_scores`."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from assets.critic_training import (
    calibrate_critics,
    checkpoint_folder,
    critic_rows,
    remove_superseded,
    train_critics,
)
from assets.current_critic import changed, current_critic_dep
from assets.launchpad import launchpad_config, pipeline_config
from assets.partitions import last_night_and_tonight
from assets.resources import RunServices, prompts_of
from assets.specs import TRAINER_POOL, Pipeline, asset_traits
from assets.writing import generations_until, lineage_of, read_night, write_night
from critics.calibrated import CalibratedScorer, CalibrationName, calibrated
from critics.errors import CheckpointError
from critics.examples import StepExamples
from critics.generative import generative_scorer, judge_model
from critics.label_sources import build_examples, tables_read
from critics.registry import CriticSet, Member, current_before, current_set, promoted_paths, trained_set
from critics.score import (
    LoadScorer,
    StepScorer,
    load_critic,
    load_served_critic,
    out_of_fold_scores,
    score_rollouts,
)
from pipelines.config import CriticConfig, RolloutsConfig, Settings
from pipelines.errors import LakeError
from pipelines.inference.session import model_folder
from pipelines.inference.tokens import check_model_folder
from pipelines.lake import Lake
from pipelines.tables import BY_PEOPLE, SCHEMAS

TRAINING_SOURCES = (
    "critics/adapters.py", "critics/batches.py", "critics/calibrated.py", "critics/calibration.py",
    "critics/checkpoint.py", "critics/ensembles.py", "critics/evidence.py", "critics/examples.py", "critics/fold.py",
    "critics/head_registry.py", "critics/heads.py", "critics/label_sources.py", "critics/labels.py",
    "critics/losses.py", "critics/model.py", "critics/packing.py", "critics/team.py", "critics/launch.py",
    "critics/train.py", "assets/critic_training.py", "pipelines/search/extraction.py", "sql/critics",
)  # fmt: skip
SCORING_SOURCES = (
    "critics/score.py", "critics/model.py", "critics/packing.py", "critics/fold.py", "critics/calibrated.py",
    "critics/registry.py", "critics/ensembles.py", "critics/head_registry.py", "critics/heads.py",
    "critics/generative.py", "pipelines/self_verdicts.py",
)  # fmt: skip
STORED_PAIRS, FIRST_PAIRS = "preference_pairs", "siblings"  # before there are stored ones, siblings of trees
MADE_WITH_CRITICS = ("step_scores", STORED_PAIRS)  # tonight's depend on tonight's critics


def critic_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Training of the process critic, and its scores of the samples and of the right paths of trees."""
    return [_process_critic(settings), _step_scores(settings)]


def _process_critic(settings: Settings) -> dg.AssetsDefinition:
    learned = settings.process_critic.model_copy(update={"calibration": "none", "kind": "trained"})
    config = (learned, settings.policy)
    pipeline = Pipeline("process_critic", "1", TRAINING_SOURCES, config, workspace=("prompts",))
    Launchpad = launchpad_config(settings.process_critic)
    configured = settings.process_critic
    reads = tables_read(configured.labels, configured.attributes, configured.reviewed_weight)
    reads += tables_read(FIRST_PAIRS) if STORED_PAIRS in reads else ()
    inputs = tuple(table for table in dict.fromkeys(reads) if table not in (*MADE_WITH_CRITICS, *BY_PEOPLE))

    @dg.asset(
        pool=TRAINER_POOL,
        **asset_traits(settings, pipeline, "process_critic", kinds={"pytorch"}, deps=inputs, table="critics"),
    )
    def process_critic(
        context: dg.AssetExecutionContext,
        config: Launchpad,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
        services: dg.ResourceParam[RunServices],
    ) -> dg.MaterializeResult:
        """One row per critic trained tonight on the values of the trees: one per fold, and one of all problems."""
        night = context.partition_key
        chosen = pipeline_config(config, CriticConfig)
        with lake.lease(f"process_critic/{night}"):
            chosen, examples, earlier = examples_of(lake, chosen, prompts_of(settings).verify_prompt, night)
            init = initial_folder(settings, chosen)
            folder = checkpoint_folder(settings.checkpoints_dir, night, examples, chosen, init)
            trained = train_critics(
                examples, chosen, init, folder,
                data_version=json.dumps({**lineage_of(lake, inputs, night), **earlier}),
                on_progress=services.progress(context),
            )  # fmt: skip
            rows = critic_rows(trained, settings.root, night)
            calibration = calibrate_critics(trained, examples, chosen)
            numbers = {"critic": str(trained[None].folder), **trained[None].metrics, **calibration}
            result = write_night(
                lake, "critics", rows, night, upstream=inputs, numbers=numbers, asset_key="process_critic",
                also_from=earlier,
            )  # fmt: skip
            if current_before(lake, night) is None:  # the first critics are the current ones at once
                context.log_event(changed(trained_set(rows), night))
            remove_superseded(folder, {settings.in_workspace(path) for path in promoted_paths(lake)})
            return result

    return process_critic


def _step_scores(settings: Settings) -> dg.AssetsDefinition:
    config = (settings.policy, settings.process_critic, *generative_section(settings))
    pipeline = Pipeline("step_scores", "2", SCORING_SOURCES, config, workspace=("prompts",))
    current = current_critic_dep(last_night_and_tonight())

    @dg.asset(
        pool=TRAINER_POOL,
        **asset_traits(
            settings,
            pipeline,
            "step_scores",
            kinds={"pytorch", "parquet"},
            deps=["problems", "rollouts", "process_critic", current],
        ),
    )
    def step_scores(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
        services: dg.ResourceParam[RunServices],
    ) -> dg.MaterializeResult:
        """One row per step of a sample or of a right path of a tree, by a critic that never saw its problem."""
        night = context.partition_key
        with lake.lease(f"step_scores/{night}"):
            samples = judged_rollouts(read_night(lake, "rollouts", night))
            problems, verify_prompt = read_night(lake, "problems", night), prompts_of(settings).verify_prompt
            numbers, inputs = {}, {}
            if settings.process_critic.kind == "generative":
                scorer = generative_scorer(settings, services.opener(context, judge_model(settings)))
                rows = score_rollouts(samples, problems, scorer, verify_prompt, night)
            else:
                critics = scoring_critics(lake, night)
                scorers = fold_scorers(settings, critics, settings.process_critic.calibration)
                rows = out_of_fold_scores(samples, problems, scorers, verify_prompt, night)
                numbers = {"critic_night": critics.night}
                inputs = {
                    f"critics/{critics.night}": lake.generation("critics", critics.night),
                    **generations_until(lake, "critic_promotions", night),
                }
            numbers = {"mean_score": pc.mean(rows["score"]).as_py() or 0.0, **numbers}
            return write_night(
                lake, "step_scores", rows, night, upstream=["problems", "rollouts"], numbers=numbers, also_from=inputs
            )

    return step_scores


def generative_section(settings: Settings) -> tuple[BaseModel, ...]:
    """The section of the language model that scores in the trained critic's place; none where it does not."""
    return (settings.generative_critic,) if settings.process_critic.kind == "generative" else ()


def examples_of(
    lake: Lake, config: CriticConfig, verify_prompt: Callable[[Mapping], str], night: str
) -> tuple[CriticConfig, StepExamples, dict[str, str]]:
    """(configuration, examples, `table/night` -> generation of what other nights and people gave to them).

    Where labels are stored pairs and no night before made any, pairs of siblings of tonight's trees stand in.
    """
    read = tables_read(config.labels, config.attributes, config.reviewed_weight)
    tables = {table: label_rows(lake, table, night) for table in read}
    examples = build_examples(
        config.labels, tables, verify_prompt, attributes=config.attributes, reviewed_weight=config.reviewed_weight
    )
    if STORED_PAIRS in read and examples.num_pairs == 0:
        return examples_of(lake, config.model_copy(update={"labels": FIRST_PAIRS}), verify_prompt, night)
    return config, examples, earlier_inputs(lake, read, night)


def label_rows(lake: Lake, table: str, night: str) -> pa.Table:
    """The rows that labels are made from: tonight's, or of a table that critics had a hand in, the night's before.

    What people reviewed counts from every night up to this one.
    """
    nights = nights_read(lake, table, night)
    if nights is None:
        return read_night(lake, table, night)
    return pa.concat_tables([SCHEMAS[table].empty_table(), *(lake.read(table, one) for one in nights)])


def nights_read(lake: Lake, table: str, night: str) -> list[str] | None:
    """The nights whose rows of a table labels are made from; None: tonight's."""
    if table in BY_PEOPLE:
        return [partition for partition in lake.partitions(table) if partition <= night]
    if table in MADE_WITH_CRITICS:
        return [partition for partition in lake.partitions(table) if partition < night][-1:]
    return None


def earlier_inputs(lake: Lake, tables: Sequence[str], night: str) -> dict[str, str]:
    """`table/night` -> generation of what labels are made from besides tonight's tables."""
    return {
        f"{table}/{one}": lake.generation(table, one)
        for table in tables
        for one in nights_read(lake, table, night) or ()
    }


def initial_folder(settings: Settings, config: CriticConfig) -> Path:
    """Where training starts: the policy's own folder, or a folder of the configuration."""
    if config.init == "policy":
        return model_folder(settings.policy.model)
    folder = settings.in_workspace(config.init)
    check_model_folder(folder)
    return folder


def judged_rollouts(rollouts: pa.Table) -> pa.Table:
    """Rollouts of the groups, and the paths of trees that may become training data: those whose answer is right."""
    is_right = pc.fill_null(pc.equal(rollouts["outcome_reward"], 1.0), False)
    is_chosen = pc.or_(rollouts["group_id"].is_valid(), pc.and_(rollouts["tree_id"].is_valid(), is_right))
    return rollouts.filter(pc.and_(is_chosen, rollouts["error"].is_null()))


def scoring_critics(lake: Lake, night: str) -> CriticSet:
    """The critics that score a night: the current ones as of it, or tonight's where none was promoted yet.

    In a night's own run these are the ones of before, because its critic is tried last; once that was promoted, they
    are tonight's, and what was scored before is stale. Fold critics are used on every night, because a problem may come
    back: the critic of its own fold never saw it.
    """
    critics = current_set(lake, night) or trained_set(lake.read("critics", night))
    if critics is None:
        raise LakeError(f"There is no critic for the night {night} or before it; materialise process_critic first.")
    return critics


def fold_scorers(
    settings: Settings, critics: CriticSet, calibration: CalibrationName = "none", load: LoadScorer = load_critic
) -> dict[int, StepScorer | CalibratedScorer]:
    """Fold -> its loaded critic, behind the map of its own calibration."""
    return {fold: member_scorer(settings, member, calibration, load) for fold, member in critics.folds.items()}


def member_scorer(
    settings: Settings, member: Member, calibration: CalibrationName = "none", load: LoadScorer = load_critic
) -> StepScorer | CalibratedScorer:
    """The loaded critic; CheckpointError where the folder holds other weights than it was registered with."""
    folder = settings.in_workspace(member.path)
    scorer = load(folder)
    if scorer.manifest.digest != member.digest:
        raise CheckpointError(
            f"{folder} holds weights {scorer.manifest.digest[:12]}, but {member.critic_id} was registered with "
            f"{member.digest[:12]}: materialise critic_trials and critic_promotions of the night that trained again, "
            "or make another critic current (reasonmill critic rollback)."
        )
    return calibrated(scorer, folder, calibration)


def guide_loader(settings: Settings, config: RolloutsConfig, run_id: str, owner_pid: int) -> LoadScorer:
    """How a run's guided search loads critics: into its own process, or each onto an engine of the run."""
    if config.guide_on == "torch":
        return load_critic
    return partial(load_served_critic, settings=settings, run_id=run_id, owner_pid=owner_pid)
