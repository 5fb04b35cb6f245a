"""One night in this process: what `reasonmill demo` and `reasonmill run` call.

The same job, assets and checks as in `dagster dev`, with Dagster's in-process executor. Where DAGSTER_HOME is set
the run is recorded there, so the UI shows it; otherwise nothing of it outlives the call but the tables.
"""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError

from assets.alerts import night_succeeded, report_failure
from assets.definitions import build_definitions
from assets.instance import home_instance
from assets.lost_runs import end_lost_runs, require_no_other, this_machine
from assets.partitions import nightly_partitions
from assets.promotion import PROMOTABLE
from assets.resources import RunServices
from assets.sensors import is_busy, told
from assets.writing import read_night
from pipelines.config import Settings
from pipelines.errors import ConfigError, ReasonmillError
from pipelines.inference.engine_service import stop_engine
from pipelines.lake import Lake
from pipelines.policies import adopt, with_adopted_policy
from pipelines.records import ProgressFn

logger = logging.getLogger(__name__)

JOB = "night"
CHECK_EVALUATION = dg.DagsterEventType.ASSET_CHECK_EVALUATION.value
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class BlockedByCheckError(ReasonmillError):
    """A blocking asset check found offending rows, so what follows was not made."""


@dataclass(frozen=True)
class RunSummary:
    """What a run left behind.

    Attributes:
        success: every selected asset was made and no blocking check failed, but for the promotion of the critic.
        tables: (table, rows, tokens) of every table written; tokens None where the table counts none.
        policy_report, critic_report: rows of tonight's reports, empty where they were not made.
        seconds_per_stage: wall time per step, in the order of their ends; checks are left out.
        tokens_per_s: completion tokens that the engine generated per second of generating stages.
        dataset_path: folder of the published version; None where none was published.
        critic_path: checkpoint folder of the critic of all training problems; None where none was trained.
        report_path: the page of the night; None where none was written.
        errors: descriptions of checks that failed without blocking, and why tonight's critic was not promoted.
    """

    success: bool
    tables: list[tuple[str, int, int | None]]
    policy_report: list[dict]
    critic_report: list[dict]
    seconds_per_stage: dict[str, float]
    tokens_per_s: float
    dataset_path: str | None
    critic_path: str | None
    report_path: str | None
    errors: list[str]


def materialize_night(
    settings: Settings,
    night: str,
    on_progress: ProgressFn | None = None,
    selection: str | None = None,
    services: RunServices | None = None,
) -> RunSummary:
    """Materialises a night (YYYY-MM-DD) of the whole graph, or of a selection, and ends its engine.

    Args:
        on_progress: receives every progress report of the stages.
        selection: a Dagster asset selection such as "consistency_results+"; None: everything.
        services: sessions of the caller's own (tests serve a scripted model); None: the configured engine.

    Raises:
        ReasonmillError: as the failing stage raised it, and for a blocking check that found offending rows.
        PartitionBusyError: another run makes this night.
    """
    require_night(settings, night)
    with instance_of_run() as instance:
        wait_or_refuse(instance, night)
    settings = with_newest_policy(settings)
    services = services or RunServices(settings, on_progress=on_progress)
    job = build_definitions(settings, services).resolve_job_def(JOB)
    run_id = str(uuid.uuid4())
    with instance_of_run() as instance:
        try:
            result = job.execute_in_process(
                run_config=QUIET,
                instance=instance,
                partition_key=night,
                asset_selection=selected_keys(job, selection),
                run_id=run_id,
                tags=this_machine(),
            )
            events = result.all_events
        except DagsterAssetCheckFailedError as error:
            events = events_of(instance, run_id)
            if not only_promotion_is_blocked(events):
                explained = explain_checks(events, night)
                report_failure(settings, night, explained, run_id)
                raise BlockedByCheckError(explained) from error
        except Exception as error:
            words = str(error) if isinstance(error, ReasonmillError) else f"{type(error).__name__}: {error}"
            report_failure(settings, night, words, run_id)
            raise
        finally:
            stop_engine(settings, run_id)
        if selection is None:
            night_succeeded(settings, night)
        return summary_of(events, Lake(settings.lake_url), night)


def wait_or_refuse(instance: dg.DagsterInstance, night: str) -> None:
    """PartitionBusyError where this night is being made; of another run that is waited for, the log tells.

    A run whose process was killed is neither: it is marked as failed and gives up what it held.
    """
    for run_id in end_lost_runs(instance):
        logger.warning("The run %s was killed before its end; it is marked as failed and holds nothing more.", run_id)
    for run_id in require_no_other(instance, night):
        logger.warning("The run %s is under way; where it uses the engine, this night waits for it.", run_id)


def with_newest_policy(settings: Settings) -> Settings:
    """The settings with the newest usable checkpoint as policy; the one in force where another run is under way."""
    if settings.schedule.policy_folder is not None:
        with instance_of_run() as instance:
            if not is_busy(instance):
                told(settings, adopt(settings))
    return with_adopted_policy(settings)


def require_night(settings: Settings, night: str) -> None:
    """ConfigError unless the night is a partition: a day from `schedule.first_night` to today."""
    nights = nightly_partitions(settings.schedule)
    if not nights.has_partition_key(night):
        raise ConfigError(
            f"The night {night!r} is no partition; give a day as YYYY-MM-DD from {nights.get_first_partition_key()} "
            f"(schedule.first_night) to {nights.get_last_partition_key()} (today in {settings.schedule.timezone})."
        )


def instance_of_run() -> dg.DagsterInstance:
    """The instance of DAGSTER_HOME, or one in memory."""
    return home_instance() or dg.DagsterInstance.ephemeral()


def selected_keys(job: dg.JobDefinition, selection: str | None) -> list[dg.AssetKey] | None:
    """Keys of a selection; tables that one step makes together are selected together. None: everything."""
    if selection is None:
        return None
    try:
        chosen = dg.AssetSelection.from_coercible([part.strip() for part in selection.split(",")])
        return sorted(chosen.required_multi_asset_neighbors().resolve(job.asset_layer.asset_graph))
    except dg.DagsterError as error:
        raise ConfigError(
            f"The selection {selection!r} cannot be used: {str(error).splitlines()[0]} "
            "Give assets such as rollouts or consistency_results+ (with what follows), separated by commas."
        ) from error


def events_of(instance: dg.DagsterInstance, run_id: str) -> list[dg.DagsterEvent]:
    """What a run recorded, also one that failed."""
    return [log.dagster_event for log in instance.all_logs(run_id) if log.dagster_event]


def only_promotion_is_blocked(events: Sequence[dg.DagsterEvent]) -> bool:
    """Whether all that failed is the promotion of tonight's critic, which comes last: the night itself is done."""
    blocked = {
        evaluation.check_name
        for evaluation in check_evaluations(events)
        if not evaluation.passed and evaluation.blocking and evaluation.severity is dg.AssetCheckSeverity.ERROR
    }
    return blocked == {PROMOTABLE}


def explain_checks(events: Sequence[dg.DagsterEvent], night: str) -> str:
    """Which checks of a run failed, and on what."""
    failed = failed_checks(events)
    return (
        f"The night {night} was stopped because {len(failed)} check(s) found tables that would spoil what follows. "
        f"{'; '.join(failed)}. What was written before stays; mend the cause and run the night again."
    )


def failed_checks(events: Sequence[dg.DagsterEvent]) -> list[str]:
    """`asset.check: description (numbers)` of every check that did not pass."""
    return [_describe(evaluation) for evaluation in check_evaluations(events) if not evaluation.passed]


def check_evaluations(events: Sequence[dg.DagsterEvent]) -> list[dg.AssetCheckEvaluation]:
    """The evaluations of all checks, in order."""
    return [event.event_specific_data for event in events if event.event_type_value == CHECK_EVALUATION]


def _describe(evaluation: dg.AssetCheckEvaluation) -> str:
    numbers = {name: entry.value for name, entry in evaluation.metadata.items() if name != "offending"}
    figures = ", ".join(f"{name} {value}" for name, value in numbers.items())
    rows = evaluation.metadata["offending"].value if "offending" in evaluation.metadata else ""
    name = f"{evaluation.asset_key.to_user_string()}.{evaluation.check_name}"
    return f"{name}: {evaluation.description or ''} ({figures}) {rows}".strip()


def summary_of(events: Sequence[dg.DagsterEvent], lake: Lake, night: str) -> RunSummary:
    """The summary of a successful run from its events and the tables it wrote."""
    made = {
        event.asset_key.to_user_string(): {name: entry.value for name, entry in event.materialization.metadata.items()}
        for event in events
        if event.is_step_materialization
    }
    return RunSummary(
        success=True,
        tables=[(key, of["dagster/row_count"], of.get("tokens")) for key, of in made.items()],
        policy_report=read_night(lake, "policy_report", night).to_pylist() if "policy_report" in made else [],
        critic_report=read_night(lake, "critic_report", night).to_pylist() if "critic_report" in made else [],
        seconds_per_stage=seconds_per_stage(events),
        tokens_per_s=tokens_per_s(list(made.values())),
        dataset_path=made.get("published_version", {}).get("path"),
        critic_path=made.get("process_critic", {}).get("critic"),
        report_path=made.get("night_report", {}).get("report"),
        errors=failed_checks(events),
    )


def seconds_per_stage(events: Sequence[dg.DagsterEvent]) -> dict[str, float]:
    """Wall time of every step that made a table, in the order of their ends."""
    makers = {event.step_key for event in events if event.is_step_materialization}
    ended = [event for event in events if event.is_step_success and event.step_key in makers]
    return {event.node_name: event.step_success_data.duration_ms / 1000 for event in ended}


def tokens_per_s(metadata: Sequence[Mapping[str, object]]) -> float:
    """Completion tokens per second over all stages that asked the engine; 0 without any."""
    stages = [of for of in metadata if "completion_tokens" in of]
    seconds = sum(of["seconds"] for of in stages)
    return sum(of["completion_tokens"] for of in stages) / seconds if seconds > 0 else 0.0
