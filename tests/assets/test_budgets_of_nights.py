"""Nights under a budget and with a guide: what is searched, by whom, and what is recorded of it."""

import dagster as dg
import pytest
from scripted_night import NIGHT, ScriptedServices, small_settings, write_reply

from assets.critics import guide_loader
from assets.guidance import current_guide
from assets.resources import prompts_of
from assets.rollouts import plan_night
from assets.run import materialize_night
from critics.fold import fold_of
from critics.registry import promote
from critics.score import load_critic, load_served_critic
from pipelines.budget import PassCount, unguided_problems
from pipelines.config import Settings
from pipelines.errors import ConfigError, ErrorRateError
from pipelines.inference.errors import ServerError
from pipelines.lake import Lake
from pipelines.problems import load_problems

pytestmark = pytest.mark.slow
NEXT_NIGHT = "2026-01-03"


def with_rollouts(settings: Settings, **changes) -> Settings:
    return settings.model_copy(update={"rollouts": settings.rollouts.model_copy(update=changes)})


def run(settings: Settings, night: str, selection: str = "rollouts", **services) -> ScriptedServices:
    services = ScriptedServices(settings, **services)
    materialize_night(settings, night, selection=selection, services=services)
    return services


@pytest.fixture
def first_night(tmp_path) -> Settings:
    """Problems, rollouts and critics of the first night; the critics are current."""
    settings = small_settings(tmp_path)
    run(settings, NIGHT, "problems,rollouts,process_critic")
    promote(Lake(settings.lake_url), NIGHT)
    return settings


def test_a_guided_night_keeps_an_unguided_share_and_records_both_and_the_critic_that_guided(first_night):
    settings = with_rollouts(first_night, guided=True, unguided_share=0.5)
    lake = Lake(settings.lake_url)
    run(settings, NEXT_NIGHT)
    nodes, rollouts = lake.read("search_nodes", NEXT_NIGHT).to_pylist(), lake.read("rollouts", NEXT_NIGHT).to_pylist()
    searched = {row["problem_id"]: row["is_guided"] for row in nodes}
    unguided = unguided_problems(searched, NEXT_NIGHT, 0.5)
    assert len(unguided) == 3
    assert searched == {problem_id: problem_id not in unguided for problem_id in searched}
    assert {row["is_guided"] for row in rollouts if row["group_id"]} == {False}
    by_critic = [row for row in nodes if row["is_guided"] and row["depth"] and not row["is_terminal"]]
    assert by_critic
    assert all(row["num_samples"] == 0 and 0 < row["raw_value"] < 1 for row in by_critic)
    for table in ("rollouts", "search_nodes"):
        lineage = lake.manifest(table, NEXT_NIGHT).lineage
        assert lineage[f"critics/{NIGHT}"] == lake.generation("critics", NIGHT)
        assert lineage[f"critic_promotions/{NIGHT}"] == lake.generation("critic_promotions", NIGHT)


def test_critics_guide_from_the_steps_own_process_unless_an_engine_is_asked_for(tmp_path):
    settings = small_settings(tmp_path)
    assert guide_loader(settings, settings.rollouts, "run", 1) is load_critic
    on_engine = guide_loader(settings, settings.rollouts.model_copy(update={"guide_on": "engine"}), "run", 1)
    assert (on_engine.func, on_engine.keywords["run_id"]) == (load_served_critic, "run")


def test_in_a_guided_night_the_critic_also_judges_the_last_step_where_the_recipe_gives_that_weight(first_night):
    """(s1 s2 + s2) / 2 at the second step: the value critic's product and the process critic's last score."""
    own = {"outcome_weight": 0.0, "process_weight": 1.0}
    settings = with_rollouts(first_night, recipe="alphallm", guided=True, unguided_share=0.5, parameters=own)
    run(settings, NEXT_NIGHT)
    lake = Lake(settings.lake_url)
    guide, prompts = current_guide(settings, lake, NEXT_NIGHT), prompts_of(settings)
    problems = {row["problem_id"]: row for row in lake.read("problems").to_pylist()}
    nodes = lake.read("search_nodes", NEXT_NIGHT).to_pylist()
    texts = {(row["tree_id"], row["node_id"]): row["step_text"] for row in nodes}
    second = [row for row in nodes if row["depth"] == 2 and not row["is_terminal"]]
    guided = [row for row in second if row["is_guided"]]
    assert guided
    for row in guided:
        scorer = guide.scorers[fold_of(row["problem_id"], len(guide.scorers))]
        steps = [texts[row["tree_id"], row["parent_id"]], row["step_text"]]
        ((first, last),) = scorer.score([prompts.verify_prompt(problems[row["problem_id"]])], [steps])
        assert row["raw_value"] == pytest.approx((first * last + last) / 2, abs=1e-4)
    unguided = [row for row in second if not row["is_guided"]]
    assert unguided and all(row["num_samples"] > 0 for row in unguided)  # graded completions alone


def test_weight_for_a_critic_that_no_night_can_have_is_refused_before_anything_is_asked_for(tmp_path):
    settings = with_rollouts(small_settings(tmp_path), recipe="alphallm", parameters={"process_weight": 0.5})
    problems = load_problems(settings)
    with pytest.raises(ConfigError, match=r"process_weight = 0.5 .*rollouts.guided = true"):
        plan_night(settings, settings.rollouts, Lake(settings.lake_url), problems, NIGHT)
    guided = with_rollouts(settings, guided=True)
    assert plan_night(guided, guided.rollouts, Lake(settings.lake_url), problems, NIGHT).guide is None


def test_the_first_night_has_no_critic_and_is_unguided(tmp_path):
    settings = with_rollouts(small_settings(tmp_path), guided=True)
    run(settings, NIGHT, "problems,rollouts")
    assert set(Lake(settings.lake_url).read("search_nodes")["is_guided"].to_pylist()) == {False}


def test_the_second_night_shares_its_simulations_out_by_the_samples_of_the_first(first_night):
    settings = with_rollouts(first_night, allocation="knapsack")
    lake = Lake(settings.lake_url)
    problems = lake.read("problems")
    assert set(plan_night(settings, settings.rollouts, lake, problems, NIGHT).simulations.values()) == {16}
    plan = plan_night(settings, settings.rollouts, lake, problems, NEXT_NIGHT)
    assert sum(plan.simulations.values()) == 6 * 16
    assert len(set(plan.simulations.values())) > 1
    assert plan.lineage == {f"rollouts/{NIGHT}": lake.generation("rollouts", NIGHT)}


def test_a_token_limit_ends_the_night_early_and_green_and_says_how_much_was_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    whole = small_settings(tmp_path / "whole")
    run(whole, NIGHT, "problems,rollouts")
    limited = with_rollouts(small_settings(tmp_path / "limited"), max_total_tokens=2500)
    run(limited, NIGHT, "problems,rollouts")
    rows, all_rows = (Lake(one.lake_url).read("rollouts", NIGHT) for one in (limited, whole))
    assert 0 < rows.num_rows < all_rows.num_rows
    assert rows["group_id"].drop_null().length() == 6 * 8  # the samples come first
    with dg.DagsterInstance.get() as instance:
        metadata = instance.get_latest_materialization_event(dg.AssetKey("search_nodes")).asset_materialization.metadata
    numbers = {name: metadata[name].value for name in ("num_trees", "num_not_started", "num_cut_short")}
    assert numbers["num_trees"] + numbers["num_not_started"] == 6
    assert numbers["num_cut_short"] + numbers["num_not_started"] > 0


def test_oversampling_draws_more_problems_and_stops_when_enough_are_useful(tmp_path):
    settings = with_rollouts(small_settings(tmp_path), num_search_problems=3, oversample=4.0)
    run(settings, NIGHT, "problems,rollouts")
    lake = Lake(settings.lake_url)
    rewards: dict[str, set] = {}
    for row in lake.read("rollouts", NIGHT).to_pylist():
        if row["tree_id"]:
            rewards.setdefault(row["problem_id"], set()).add(row["outcome_reward"])
    num_useful = sum({0.0, 1.0} <= one for one in rewards.values())
    drawn = plan_night(settings, settings.rollouts, lake, lake.read("problems"), NIGHT).to_search.num_rows
    assert drawn == 12
    assert num_useful == 3 or len(rewards) == 12


def test_a_night_that_fails_leaves_no_files_behind(tmp_path):
    settings = small_settings(tmp_path)
    run(settings, NIGHT, "problems")

    def dies(text, rng):
        raise ServerError("the scripted engine is dead")

    with pytest.raises(ErrorRateError):
        run(settings, NIGHT, write=dies)
    assert not list((tmp_path / "lake" / "rollouts").rglob("*.parquet"))
    run(settings, NIGHT, write=write_reply)
    assert Lake(settings.lake_url).read("rollouts", NIGHT).num_rows > 0


def test_the_pass_rate_is_that_of_the_last_night_on_which_the_problem_was_sampled():
    from pipelines.rows import rows_to_table
    from pipelines.warehouse import Warehouse

    def sample(number: int, problem_id: str, night: str, reward: float | None, recipe: str = "independent_samples"):
        return {
            "rollout_id": str(number), "problem_id": problem_id, "night": night, "outcome_reward": reward,
            "recipe": recipe,
        }  # fmt: skip

    rows = [
        sample(1, "a", "2026-01-01", 0.0),
        sample(2, "a", "2026-01-02", 1.0),
        sample(3, "a", "2026-01-02", 0.0),
        sample(4, "a", "2026-01-02", None),
        sample(5, "a", "2026-01-03", 1.0),  # tonight
        sample(6, "b", "2026-01-01", 1.0),
        sample(7, "b", "2026-01-02", 0.0, recipe="puct"),
        sample(8, "c", "2026-01-02", None),
    ]
    with Warehouse.over({"rollouts": rows_to_table("rollouts", rows)}) as warehouse:
        found = warehouse.named("rollouts/pass_history", night="2026-01-03").to_pylist()
    assert {row["problem_id"]: PassCount(row["num_right"], row["num_tried"]) for row in found} == {
        "a": PassCount(1, 2),
        "b": PassCount(1, 1),
    }
