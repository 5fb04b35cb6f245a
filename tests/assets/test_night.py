"""A whole night with a scripted model: what it writes, and what happens when it is run again."""

import random
import shutil
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import pyarrow.compute as pc
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from scripted_night import NIGHT, ScriptedServices, small_settings, write_reply

from assets.critics import initial_folder
from assets.definitions import build_definitions
from assets.resources import with_section
from assets.run import BlockedByCheckError, materialize_night
from pipelines.config import CriticConfig, Settings, TokenScoresConfig
from pipelines.configured import own_recipes
from pipelines.errors import ConfigError, ErrorRateError, LakeError, ModelFolderError, PartitionBusyError
from pipelines.inference.errors import ServerError
from pipelines.inference.scripted import SCRIPTED_LOGPROB
from pipelines.lake import Lake
from pipelines.tables import BY_PEOPLE, SCHEMAS
from pipelines.warehouse import Warehouse

pytestmark = pytest.mark.slow
NEXT_NIGHT = "2026-01-03"


def rerun(settings: Settings, selection: str | None, night: str = NIGHT, **services) -> None:
    materialize_night(settings, night, selection=selection, services=ScriptedServices(settings, **services))


def no_write(text: str, rng: random.Random) -> str:
    raise ServerError("the scripted engine is dead")


def test_every_table_has_rows_of_the_night_but_those_of_people_and_of_nights_before(night):
    empty = [table for table in SCHEMAS if night.lake.read(table).num_rows == 0]
    assert empty == ["replay", *BY_PEOPLE]
    assert night.lake.partitions("rollouts") == [NIGHT]


def test_every_request_names_its_problem_so_that_it_keeps_to_one_engine(night):
    problem_ids = set(night.lake.read("problems")["problem_id"].to_pylist())
    assert night.affinities <= problem_ids
    assert len(night.affinities) > 4


def test_the_summary_names_every_table_with_its_rows(night):
    rows = {table: num_rows for table, num_rows, _ in night.summary.tables}
    assert rows["rollouts"] == night.lake.read("rollouts").num_rows
    assert rows["process_critic"] == 3  # two folds and all problems
    made = set(SCHEMAS) - {"critics", *BY_PEOPLE}
    assert set(rows) == made | {"process_critic", "published_version", "night_report"}


def test_the_summary_says_where_dataset_and_critic_are_and_how_long_it_took(night):
    assert night.summary.success and night.summary.errors == []
    assert night.summary.dataset_path.startswith(str(night.settings.datasets_dir))
    assert night.summary.critic_path.startswith(str(night.settings.checkpoints_dir))
    assert set(night.summary.seconds_per_stage) >= {"problems", "rollouts", "critiques", "process_critic", "reports"}
    assert night.summary.tokens_per_s > 0


def test_the_policy_report_has_a_row_per_strategy_over_the_evaluation_problems(night):
    rows = {row["strategy"]: row["num_problems"] for row in night.summary.policy_report}
    assert rows == dict.fromkeys(
        ("greedy", "pass_at_1", "majority_4", "best_of_4_logprob", "best_of_4_mean_logprob", "best_of_4_critic",
         "weighted_majority_4_critic", "puct_critic", "oracle_4"), 4
    )  # fmt: skip


def test_the_report_of_the_night_is_written_from_its_own_run(night, instance_of_night):
    page = Path(night.summary.report_path).read_text()
    assert 'class="verdict promote"' in page and "the first critic has nobody to beat" in page
    stages = {row["stage"]: row for row in night.lake.read("stage_usage").to_pylist()}
    assert set(stages) >= {"problems", "rollouts", "critiques", "process_critic", "reports", "critic_trials"}
    assert all(row["seconds"] > 0 for row in stages.values())
    assert stages["rollouts"]["num_requests"] > 0 and stages["process_critic"]["num_requests"] is None
    event = instance_of_night.get_latest_materialization_event(dg.AssetKey("night_report"))
    metadata = event.asset_materialization.metadata
    numbers = dict(zip(*night.lake.read("night_metrics").select(["metric", "value"]).to_pydict().values(), strict=True))
    assert {name: metadata[name].value for name in numbers} == numbers
    assert set(numbers) >= {
        "tokens_per_kept_row", "engine_busy_share", "store_hit_share", "parse_error_rate", "ungraded_share",
        "yield_prof", "flawed_in_right_audit", "critic_step_auroc_frozen", "ece", "pass1", "greedy", "length_p50",
        "length_p95", "distinct_solution_share",
    }  # fmt: skip
    assert "pass16" not in numbers  # four samples tell nothing of it
    assert 0 < numbers["engine_busy_share"] < 1 and "judge_bias" in numbers


def test_the_token_ledger_of_the_night_closes_against_its_stages(night):
    with Warehouse(night.lake) as warehouse:
        ledger = warehouse.named("reports/token_ledger", night=NIGHT).to_pylist()
    stages = {row["stage"]: row for row in night.lake.read("stage_usage").to_pylist() if row["num_requests"]}
    assert {row["stage"] for row in ledger} == {*stages, "step_scores"}
    for name in ("prompt_tokens", "completion_tokens"):
        sums = {stage: sum(row[name] or 0 for row in ledger if row["stage"] == stage) for stage in stages}
        assert sums == {stage: row[name] for stage, row in stages.items()}
    asked = sum(row["completion_tokens"] or 0 for row in ledger if row["kind"] != "replayed")
    assert night.lake.read("night_log")["num_tokens"].to_pylist() == [asked]
    assert "elsewhere in the stage" not in {row["purpose"] for row in ledger}


def test_the_log_of_the_night_names_what_made_it(night):
    (row,) = night.lake.read("night_log").to_pylist()
    assert (row["verdict"], row["reason"]) == ("promote", "first_critic")
    assert row["dataset_version"] == Path(night.summary.dataset_path).name
    assert row["guide_night"] is None and row["seconds"] > 0 and row["num_tokens"] > 0


def test_columns_say_where_they_come_from(instance_of_night):
    event = instance_of_night.get_latest_materialization_event(dg.AssetKey("rl_groups"))
    lineage = event.asset_materialization.metadata["dagster/column_lineage"].value.deps_by_column
    assert lineage["advantage"] == [dg.TableColumnDep(dg.AssetKey("consistent_rollouts"), "group_advantage")]
    assert {dep.asset_key.to_user_string() for dep in lineage["rollout_id"]} >= {"rollouts"}


def test_progress_is_reported_for_every_stage_that_takes_long(night):
    expected = {"search", "samples", "critiques", "process_critic all"}
    assert expected | {"evaluation samples", "evaluation solve_with_critic"} <= set(night.stages)


def test_each_partition_records_the_generations_it_was_made_from(night):
    lineage = night.lake.manifest("consistent_rollouts", NIGHT).lineage
    assert lineage == {f"{table}/{NIGHT}": night.lake.generation(table, NIGHT) for table in ("rollouts", "step_scores")}


def test_every_completion_token_of_the_chosen_rollouts_is_scored(night, instance_of_night):
    scores = night.lake.read("token_scores").to_pylist()
    rollouts = {row["rollout_id"]: row for row in night.lake.read("rollouts").to_pylist()}
    assert len(scores) == min(400, sum(row["error"] is None for row in rollouts.values()))
    for row in scores:
        rollout = rollouts[row["rollout_id"]]
        assert row["token_logprobs"] == [SCRIPTED_LOGPROB] * rollout["num_tokens"]
        assert len(row["step_ends"]) == len(rollout["steps"])
    event = instance_of_night.get_latest_materialization_event(dg.AssetKey("token_scores"))
    metadata = event.asset_materialization.metadata
    assert metadata["mean_logprob"].value == SCRIPTED_LOGPROB
    assert metadata["num_requests"].value == len(scores)


def test_two_names_of_one_model_score_once_and_from_the_store(night, tmp_path):
    shutil.copytree(night.settings.root, tmp_path / "copy")
    changes = {
        "root": tmp_path / "copy",
        "token_scores": TokenScoresConfig(models=("policy", "starter"), num_rollouts=5),
    }
    settings = night.settings.model_copy(update=changes)
    services = ScriptedServices(settings)
    materialize_night(settings, NIGHT, selection="token_scores", services=services)
    assert Lake(settings.lake_url).read("token_scores").num_rows == 5
    assert services.opened == [None, "starter"]
    assert services.model.score_requests == []


def test_no_sample_is_scored_by_a_critic_that_learned_from_its_problem(night):
    """One version stands for the fold critics; every step of every sample and of every right tree path has a score."""
    scores = night.lake.read("step_scores")
    assert scores["scorer_version"].unique().to_pylist()[0].startswith("folds-")
    samples = night.lake.read("rollouts")
    rows = [row for row in samples.to_pylist() if row["group_id"] is not None or row["outcome_reward"] == 1.0]
    assert any(row["group_id"] is None for row in rows)
    assert scores.num_rows == sum(len(row["steps"]) for row in rows)


def test_only_training_problems_are_explored(night):
    with Warehouse(night.lake) as warehouse:
        found = warehouse.query("select distinct split from rollouts join problems using (problem_id)")
    assert found["split"].to_pylist() == ["train"]


def test_dagster_shows_row_counts_schema_tokens_and_a_small_preview(night, instance_of_night):
    event = instance_of_night.get_latest_materialization_event(dg.AssetKey("rollouts"))
    metadata = event.asset_materialization.metadata
    assert metadata["dagster/row_count"].value == night.lake.read("rollouts").num_rows
    assert [c.name for c in metadata["dagster/column_schema"].value.columns] == SCHEMAS["rollouts"].names
    assert metadata["tokens"].value > 0 and metadata["num_requests"].value > 0
    assert len(metadata["preview"].value) < 64 * 1024


@pytest.mark.parametrize("table", ["search_nodes", "first_errors", "preference_pairs"])
def test_dagster_links_pages_of_exemplary_trees_with_kept_pairs(night, instance_of_night, table):
    event = instance_of_night.get_latest_materialization_event(dg.AssetKey(table))
    metadata = event.asset_materialization.metadata
    links = [metadata[f"tree_page_{number}"].value for number in (1, 2, 3)]
    assert links == [f"http://127.0.0.1:3001/trees/{NIGHT}/tree_{number}.html" for number in (1, 2, 3)]
    pages = [(night.settings.state_dir / urlsplit(link).path[1:]).read_text(encoding="utf-8") for link in links]
    trees = {row["tree_id"] for row in night.lake.read("search_nodes").to_pylist()}
    assert all(any(f"<code>{tree_id}</code>" in page for tree_id in trees) for page in pages)
    assert any("chosen over" in page for page in pages)


def test_a_changed_filter_makes_itself_and_what_follows_stale_and_not_the_rollouts(night, instance_of_night):
    changed = night.settings.model_copy(
        update={"consistency": night.settings.consistency.model_copy(update={"scorer_version": "another"})}
    )
    before, after = (statuses(instance_of_night, settings) for settings in (night.settings, changed))
    assert set(before.values()) == {StaleStatus.FRESH}
    assert {key for key, status in after.items() if status == StaleStatus.STALE} == {
        "consistency_results", "consistent_rollouts", "sft", "preference", "stepwise", "prompts", "rl_groups",
        "published_version", "stage_usage", "night_metrics", "night_log", "night_report",
    }  # fmt: skip


def statuses(instance: dg.DagsterInstance, settings: Settings) -> dict[str, StaleStatus]:
    graph = build_definitions(settings).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    return {
        key.to_user_string(): resolver.get_status(key, NIGHT if graph.get(key).is_partitioned else None)
        for key in graph.materializable_asset_keys
    }


def test_a_second_run_on_the_same_partition_at_once_is_refused_and_changes_nothing(night):
    generation = night.lake.generation("preference_pairs", NIGHT)
    with night.lake.lease(f"preference_pairs/{NIGHT}"), pytest.raises(PartitionBusyError, match="preference_pairs"):
        rerun(night.settings, "preference_pairs")
    assert night.lake.generation("preference_pairs", NIGHT) == generation


def test_materialising_again_replaces_the_partition_by_equal_rows_without_asking_the_engine(night, instance_of_night):
    before = night.lake.read("rollouts", NIGHT), night.lake.generation("rollouts", NIGHT)
    services = ScriptedServices(night.settings)
    materialize_night(night.settings, NIGHT, selection="rollouts", services=services)
    assert night.lake.generation("rollouts", NIGHT) != before[1]
    assert night.lake.read("rollouts", NIGHT) == before[0]
    assert services.requests == []  # all from the response store


def test_a_dead_engine_makes_no_green_night_and_leaves_the_old_partition(night):
    generation = night.lake.generation("rollouts", NIGHT)
    settings = night.settings.model_copy(
        update={"rollouts": night.settings.rollouts.model_copy(update={"temperature": 0.9})}
    )
    with pytest.raises(ErrorRateError, match="12 of 12 failed"):
        rerun(settings, "rollouts", write=no_write)
    assert night.lake.generation("rollouts", NIGHT) == generation


def test_gold_labels_change_neither_critic_nor_filter(night):
    def outputs() -> list[object]:
        digests = night.lake.read("critics", NIGHT)["digest"].to_pylist()
        tables = ("step_scores", "consistency_results", "consistent_rollouts", "preference_pairs", "rl_groups")
        return [digests, *[night.lake.read(table, NIGHT) for table in tables]]

    before, gold = outputs(), night.lake.read("gold_steps", NIGHT)
    flipped = gold.set_column(gold.schema.get_field_index("is_right"), "is_right", pc.invert(gold["is_right"]))
    night.lake.write("gold_steps", flipped, partition=NIGHT)
    rerun(night.settings, "process_critic+")
    assert outputs() == before
    night.lake.write("gold_steps", gold, partition=NIGHT)


def test_the_second_night_is_scored_by_the_current_critics_which_are_those_of_the_first(night):
    rerun(night.settings, "rollouts,process_critic,step_scores", night=NEXT_NIGHT)
    versions = [
        night.lake.read("step_scores", partition)["scorer_version"].unique().to_pylist()
        for partition in (NIGHT, NEXT_NIGHT)
    ]
    assert versions[0] == versions[1]
    assert night.lake.read("critics", NEXT_NIGHT).num_rows == 3


def test_a_second_whole_night_stands_beside_the_first(night, tmp_path):
    """Problems come back and siblings repeat: neither makes a key occur twice."""
    shutil.copytree(night.settings.root, tmp_path / "copy")
    settings = night.settings.model_copy(update={"root": tmp_path / "copy"})
    lake = Lake(settings.lake_url)
    rerun(settings, None, night=NEXT_NIGHT)
    for table in ("rollouts", "preference_pairs", "sft", "rl_groups"):
        assert lake.read(table, NEXT_NIGHT).num_rows > 0
    lineage = lake.manifest("step_scores", NEXT_NIGHT).lineage
    assert lineage[f"critics/{NIGHT}"] == lake.generation("critics", NIGHT)
    assert lake.manifest("rollouts", NEXT_NIGHT).lineage["engine"] == "scripted"


def test_a_report_without_a_critic_says_what_is_missing(tmp_path):
    settings = small_settings(tmp_path)
    rerun(settings, "problems")
    with pytest.raises(LakeError, match="no critic of the night .* materialise process_critic first"):
        rerun(settings, "policy_report")


def test_an_initial_model_that_is_not_there_is_named(night, tmp_path):
    settings = with_section(night.settings, process_critic=CriticConfig(init="no_such_folder"))
    with pytest.raises(ModelFolderError, match="no_such_folder"):
        initial_folder(settings, settings.process_critic)


def test_a_recipe_of_the_users_may_be_an_object_or_a_function(tmp_path):
    code = "from pipelines.search.recipes import RECIPES\nmine = RECIPES['uct']\ndef made():\n    return mine\n"
    (tmp_path / "my.py").write_text(code)
    for name in ("mine", "made"):
        settings = small_settings(tmp_path, extensions={"recipes": {"own": f"my.py:{name}"}})
        config = settings.rollouts.model_copy(update={"recipe": "own"})
        assert own_recipes(settings, config)["own"].name == "uct"


def test_a_night_without_work_is_stopped_by_its_check(tmp_path):
    settings = small_settings(tmp_path, rollouts={"num_search_problems": 0, "num_sample_problems": 0})
    with pytest.raises(BlockedByCheckError, match=r"rollouts\.work_done: .*num_answered 0, num_rows 0"):
        rerun(settings, "problems,rollouts,preference_pairs")
    assert Lake(settings.lake_url).partitions("preference_pairs") == []


def test_rows_that_fail_a_check_block_what_follows(tmp_path, night):
    """Without problems the filter's rows refer to nothing, so no training set is made of them."""
    shutil.copytree(night.settings.root / "lake", tmp_path / "lake")
    settings = night.settings.model_copy(update={"root": tmp_path})
    lake = Lake(settings.lake_url)
    lake.write("problems", SCHEMAS["problems"].empty_table())
    generation = lake.generation("sft", NIGHT)
    with pytest.raises(BlockedByCheckError, match=r"consistency_results\.problems_exist: .*num_offending \d+"):
        rerun(settings, "consistency_results+")
    assert lake.generation("sft", NIGHT) == generation


def test_a_day_that_is_no_partition_is_refused_with_the_days_that_are(tmp_path):
    settings = small_settings(tmp_path)
    today = datetime.now(UTC).date().isoformat()
    with pytest.raises(ConfigError, match=f"'1999-01-01' is no partition.*2026-01-01.*to {today}"):
        materialize_night(settings, "1999-01-01", services=ScriptedServices(settings, write=write_reply))


def test_a_selection_that_names_nothing_is_refused(night):
    with pytest.raises(ConfigError, match="rollout_that_is_not_there.* cannot be used"):
        rerun(night.settings, "rollout_that_is_not_there")
