"""What Dagster loads."""

import dagster as dg
import pytest

import sql as queries
from assets.definitions import build_definitions, defs, graph
from pipelines.config import Settings
from pipelines.tables import BY_PEOPLE, SCHEMAS

GRAPH = {
    "problems": set(),
    "search_nodes": {"problems"},
    "search_edges": {"problems"},
    "rollouts": {"problems"},
    "token_usage": {"problems"},
    "gold_steps": {"problems"},
    **dict.fromkeys(
        ("node_values", "first_errors", "splices", "reflections"),
        {"problems", "search_nodes", "search_edges", "rollouts"},
    ),
    "token_scores": {"rollouts"},
    "critiques": {"problems", "rollouts"},
    "verdicts": {"problems", "rollouts"},
    "refinements": {"problems", "rollouts"},
    **dict.fromkeys(("critique_units", "critique_records"), {"problems", "rollouts"}),
    "new_problems": {"problems", "rollouts"},
    "process_critic": {"problems", "search_nodes"},
    "step_scores": {"problems", "rollouts", "process_critic", "current_critic"},
    **dict.fromkeys(
        ("preference_pairs", "pair_results"),
        {"problems", "search_nodes", "rollouts", "step_scores", "current_critic"},
    ),
    "pair_judgments": {"problems", "preference_pairs"},
    "consistency_results": {"rollouts", "step_scores", "current_critic"},
    "consistent_rollouts": {"rollouts", "step_scores", "current_critic"},
    **dict.fromkeys(
        ("sft", "preference", "stepwise", "prompts", "rl_groups"),
        {"problems", "rollouts", "search_nodes", "preference_pairs", "consistent_rollouts", "verdicts", "refinements",
         "step_scores", "critiques", "critique_records", "current_critic", "replay"},
    ),
    "replay": {"rollouts"},
    "published_version": {"sft", "preference", "stepwise", "prompts", "rl_groups", "process_critic"},
    **dict.fromkeys(("evaluation_rollouts", "policy_report", "critic_report"), {"problems", "process_critic"}),
    "critic_trials": {"problems", "rollouts", "evaluation_rollouts", "process_critic", "current_critic"},
    "critic_promotions": {"critic_trials", "process_critic", "night_report"},
}  # fmt: skip
REPORT = ("stage_usage", "night_metrics", "night_log", "night_report")
GRAPH |= dict.fromkeys(REPORT, set(GRAPH) - {"critic_promotions"})


@pytest.fixture(scope="module")
def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for asset in graph(Settings()) for spec in asset.specs}


def test_the_definitions_load_as_dagsters_tools_load_them():
    dg.Definitions.validate_loadable(defs())


def test_the_graph_is_the_expected_one(specs):
    assert {key: {dep.asset_key.to_user_string() for dep in spec.deps} for key, spec in specs.items()} == GRAPH


@pytest.mark.parametrize(
    ("labels", "upstream"),
    [
        ("judge", {"problems", "rollouts", "verdicts"}),
        ("td_lambda", {"problems", "search_nodes", "node_values"}),
        ("consensus", {"problems", "rollouts", "verdicts", "first_errors"}),
        ("preference_pairs", {"problems", "search_nodes"}),
    ],
)
def test_the_critic_is_made_from_what_its_labels_read_and_never_from_what_critics_made_tonight(labels, upstream):
    settings = Settings.model_validate({"process_critic": {"labels": labels}})
    (spec,) = [spec for asset in graph(settings) for spec in asset.specs if spec.key == dg.AssetKey("process_critic")]
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == upstream
    dg.Definitions.validate_loadable(build_definitions(settings))


def test_every_table_is_made_by_exactly_one_asset(specs):
    tables = sorted(spec.metadata["table"] for spec in specs.values())
    assert tables == sorted([*set(SCHEMAS) - set(BY_PEOPLE), "published_version", "night_report"])


@pytest.mark.parametrize("key", GRAPH)
def test_an_asset_says_what_a_row_is_and_who_makes_it(specs, key):
    spec = specs[key]
    assert spec.description.startswith("One row per ")
    assert spec.group_name and spec.kinds and spec.code_version


def test_gold_labels_are_read_by_no_asset_but_the_report_of_the_night(specs):
    """They reach other reports through the generator's rules, and the night's report alone through the table."""
    assert {key for key, upstream in GRAPH.items() if "gold_steps" in upstream} == set(REPORT)
    readers = {key for key, spec in specs.items() for dep in spec.deps if dep.asset_key == dg.AssetKey("gold_steps")}
    assert readers == set(REPORT)


def test_everything_but_the_problems_is_made_night_by_night(specs):
    assert {key for key, spec in specs.items() if spec.partitions_def is None} == {"problems"}


def changed_keys(specs: dict[str, dg.AssetSpec], changes: dict) -> set[str]:
    """Assets whose code version differs under a changed configuration."""
    changed = graph(Settings.model_validate(changes))
    after = {spec.key.to_user_string(): spec for asset in changed for spec in asset.specs}
    return {key for key, spec in specs.items() if spec.code_version != after[key].code_version}


def test_changing_the_filter_changes_the_code_versions_of_the_filter_and_what_follows(specs):
    assert changed_keys(specs, {"consistency": {"methods": [{"name": "prof", "parameters": {"num_removed": 2}}]}}) == {
        "consistency_results", "consistent_rollouts", "sft", "preference", "stepwise", "prompts", "rl_groups",
        "published_version", *REPORT,
    }  # fmt: skip


def test_changing_the_reports_changes_the_reports_and_the_trial_that_reads_their_samples(specs):
    assert changed_keys(specs, {"reports": {"num_problems": 5}}) == {
        "evaluation_rollouts", "policy_report", "critic_report", "critic_trials", "critic_promotions", *REPORT,
    }  # fmt: skip


def test_changing_the_calibration_changes_the_scores_and_not_the_critic(specs):
    changed = changed_keys(specs, {"process_critic": {"calibration": "isotonic"}})
    assert "step_scores" in changed and "consistency_results" in changed
    assert "process_critic" not in changed
    trained = changed_keys(specs, {"process_critic": {"steps": 3}})
    assert "process_critic" in trained


def test_a_guided_search_depends_on_the_current_critic():
    guided = Settings.model_validate({"rollouts": {"guided": True}})
    found = {spec.key.to_user_string(): spec for asset in graph(guided) for spec in asset.specs}
    assert {dep.asset_key.to_user_string() for dep in found["rollouts"].deps} == {"problems", "current_critic"}


def test_changing_the_search_changes_everything_but_the_problems(specs):
    assert changed_keys(specs, {"rollouts": {"num_simulations": 3}}) == set(GRAPH) - {"problems"}


def test_changing_how_many_trees_are_searched_at_once_changes_nothing_and_simulations_at_once_all_trees(specs):
    assert changed_keys(specs, {"rollouts": {"trees_in_flight": 7}}) == set()
    assert changed_keys(specs, {"rollouts": {"simulations_in_flight": 2}}) == set(GRAPH) - {"problems"}


def test_changing_where_the_engine_runs_changes_nothing(specs):
    assert changed_keys(specs, {"engine": {"max_num_seqs": 7}}) == set()


def test_every_check_file_is_a_blocking_check_of_at_least_one_table():
    checks = build_definitions(Settings()).resolve_asset_graph().asset_check_keys
    files = {name.removeprefix("checks/") for name in queries.names() if name.startswith("checks/")}
    assert files and files <= {check.name for check in checks}


def test_a_check_of_training_sets_looks_at_every_one_of_them():
    checks = build_definitions(Settings()).resolve_asset_graph().asset_check_keys
    found = {c.asset_key.to_user_string() for c in checks if c.name == "no_held_out_problem_in_training_sets"}
    assert found == {
        "sft", "preference", "stepwise", "prompts", "rl_groups",
        "node_values", "first_errors", "splices", "reflections",
    }  # fmt: skip


def test_changing_what_is_read_off_trees_changes_the_extracts_alone(specs):
    extracts = {"node_values", "first_errors", "splices", "reflections"}
    assert changed_keys(specs, {"tree_extracts": {"td_lambda": 0.5}}) == {
        *extracts, *REPORT,
    }  # fmt: skip


def test_changing_which_models_score_tokens_changes_the_scores_alone(specs):
    assert changed_keys(specs, {"token_scores": {"models": ["starter"]}}) == {"token_scores", *REPORT}


def test_generating_stages_check_that_they_worked():
    checks = build_definitions(Settings()).resolve_asset_graph().asset_check_keys
    found = {check.asset_key.to_user_string() for check in checks if check.name == "work_done"}
    assert found == {"rollouts", "token_scores", "critiques", "policy_report"}


def test_the_job_runs_few_steps_at_a_time_each_in_its_own_process():
    job = build_definitions(Settings()).resolve_job_def("night")
    assert job.executor_def.name == "multiprocess"
    assert job.partitions_def is not None


def test_the_shipped_instance_frees_the_slots_of_ended_runs():
    import yaml

    from assets.versions import PROJECT_ROOT

    settings = yaml.safe_load((PROJECT_ROOT / "dagster_home" / "dagster.yaml").read_text())
    assert settings["run_monitoring"]["free_slots_after_run_end_seconds"] > 0
    assert settings["telemetry"]["enabled"] is False
