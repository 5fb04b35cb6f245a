"""Problems -> trees and samples: every column, failures as rows, replay, gold steps."""

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest
from reasoning_worlds import (
    GRADING,
    NIGHT,
    STARTER,
    ScriptedSession,
    make_config,
    make_problem,
    make_problems,
    solve_two_plus_three,
)

import sql as queries
from pipelines.config import RetrievalConfig
from pipelines.errors import ConfigError, ErrorRateError
from pipelines.inference.errors import ServerError
from pipelines.inference.response_store import ResponseStore
from pipelines.reasoning.evaluate import critic_evaluator
from pipelines.retrieval.corpus import Document, make_corpus
from pipelines.rollouts import check_error_rate, choose_problems, gold_steps, sample_rollouts, search_rollouts
from pipelines.rows import rows_to_table
from pipelines.search.recipes import RECIPES
from pipelines.tables import SCHEMAS
from pipelines.warehouse import Warehouse

CORPUS = make_corpus([Document("sums", "2+3")], RetrievalConfig())
LONGER = {"strategy_first": 8, "retrieval_planner": 8}  # simulations that try strategies, or look things up


def search(problems, session=None, *, config=None, **options):
    session = session or ScriptedSession(solve_two_plus_three)
    return asyncio.run(
        search_rollouts(problems, session, STARTER, config or make_config(), night=NIGHT, **GRADING, **options)
    )


def draw(problems, session=None, *, config=None, **options):
    session = session or ScriptedSession(solve_two_plus_three)
    return asyncio.run(
        sample_rollouts(problems, session, STARTER, config or make_config(), night=NIGHT, **GRADING, **options)
    )


def test_a_tree_holds_both_first_steps_with_their_values_and_every_complete_path_is_a_rollout():
    result = search(make_problems("p1"))
    nodes = {row["step_text"]: row for row in result.search_nodes.to_pylist()}
    assert set(nodes) == {"", "2+3=5", "2+3=6", "#### 5", "#### 6"}
    assert (nodes["2+3=5"]["raw_value"], nodes["2+3=5"]["num_samples"]) == (1.0, 2)
    assert (nodes["2+3=6"]["raw_value"], nodes["2+3=6"]["value"]) == (0.0, 0.0)
    assert (nodes["#### 5"]["outcome_reward"], nodes["#### 5"]["is_terminal"]) == (1.0, True)
    assert (nodes[""]["parent_id"], nodes[""]["prior"], nodes[""]["depth"]) == (None, None, 0)
    rollouts = {row["answer"]: row for row in result.rollouts.to_pylist()}
    right = rollouts["5"]
    assert right["steps"] == ["2+3=5", "#### 5"]
    assert right["step_values"] == [1.0, 1.0]
    assert (right["outcome_reward"], rollouts["6"]["outcome_reward"]) == (1.0, 0.0)
    assert right["recipe"] == "puct"
    assert right["group_id"] is None
    assert right["finish_reason"] == "stop"


def test_the_tokens_of_a_tree_rollout_are_the_exact_tokens_of_its_steps():
    result = search(make_problems("p1"))
    by_node = {row["node_id"]: row for row in result.search_nodes.to_pylist()}
    for rollout in result.rollouts.to_pylist():
        leaf = by_node[rollout["leaf_node_id"]]
        parent = by_node[leaf["parent_id"]]
        assert rollout["completion_token_ids"] == parent["token_ids"] + leaf["token_ids"]
        assert "".join(map(chr, rollout["prompt_token_ids"])) == "<solve>2+3\n"
        assert rollout["num_tokens"] == len(rollout["completion_token_ids"]) == len(rollout["token_logprobs"]) == 13
        assert rollout["sum_logprob"] == -6.5


def test_the_tables_have_the_declared_schemas_and_the_edges_are_the_parents():
    result = search(make_problems("p1", "p2"))
    for name in ("search_nodes", "search_edges", "rollouts"):
        assert getattr(result, name).schema.equals(SCHEMAS[name])
    parents = {
        (row["tree_id"], row["parent_id"], row["node_id"], row["step_text"])
        for row in result.search_nodes.to_pylist()
        if row["parent_id"] is not None
    }
    edges = {
        tuple(row[key] for key in ("tree_id", "from_node", "to_node", "action"))
        for row in result.search_edges.to_pylist()
    }
    assert edges == parents


def test_no_problems_give_empty_tables():
    result = search(make_problems())
    assert result.search_nodes.num_rows == result.rollouts.num_rows == 0
    assert result.rollouts.schema.equals(SCHEMAS["rollouts"])


def test_the_usage_counts_every_generated_token_also_those_of_rejected_samples():
    session = ScriptedSession(solve_two_plus_three)
    result = search(make_problems("p1", "p2"), session)
    assert result.usage.num_requests == len(session.requests)
    assert result.usage.completion_tokens == session.stats.completion_tokens
    assert result.usage.completion_tokens > sum(result.rollouts["num_tokens"].to_pylist())


def test_a_search_that_is_run_again_from_the_store_gives_the_same_tables_in_any_order_of_answers(tmp_path):
    problems = make_problems(*(f"p{index}" for index in range(8)))
    order = random.Random(1)

    async def delay(request):
        await asyncio.sleep(order.random() * 0.002)

    with ResponseStore(tmp_path / "responses") as store:
        first = search(problems, ScriptedSession(solve_two_plus_three, store))
        replay = ScriptedSession(solve_two_plus_three, store, delay)
        second = search(problems, replay, config=make_config(trees_in_flight=3))
    assert replay.requests == []
    assert second.usage.num_from_store == second.usage.num_requests == first.usage.num_requests
    for name in ("search_nodes", "search_edges", "rollouts"):
        assert getattr(first, name).equals(getattr(second, name))
    assert replace(second.usage, num_from_store=0, replayed_tokens=0) == first.usage


def expansions_at_once(problems, **config):
    """The most expansions under way at once in one tree, and the most trees under way at once."""
    under_way, peaks = [], [(0, 0)]

    async def delay(request):
        if request.purpose == "expand":
            under_way.append(request.affinity)
            peaks.append((max(map(under_way.count, under_way)), len(set(under_way))))
            await asyncio.sleep(0.001)
            under_way.remove(request.affinity)

    search(problems, ScriptedSession(solve_two_plus_three, delay=delay), config=make_config(**config))
    return max(in_one_tree for in_one_tree, _ in peaks), max(trees for _, trees in peaks)


def test_the_configuration_says_how_many_trees_and_how_many_simulations_of_one_are_under_way():
    problems = make_problems(*(f"p{index}" for index in range(5)))
    assert expansions_at_once(problems) == (1, 5)
    assert expansions_at_once(problems, trees_in_flight=2) == (1, 2)
    one_tree = {"trees_in_flight": 1, "exploration": 100.0}  # so that virtual visits outweigh the values
    assert expansions_at_once(problems, simulations_in_flight=2, **one_tree) == (2, 1)
    assert expansions_at_once(problems, **one_tree) == (1, 1)


def test_simulations_at_once_change_what_the_rows_are_called_and_trees_at_once_do_not():
    def digests(**config):
        made = search(make_problems("p1"), config=make_config(**config))
        return set(made.rollouts["sampling_digest"].to_pylist())

    assert digests(trees_in_flight=3) == digests() == digests(simulations_in_flight=1)
    assert digests(simulations_in_flight=2).isdisjoint(digests())


def test_a_run_that_was_killed_half_way_asks_only_for_what_was_not_answered(tmp_path):
    problems = make_problems(*(f"p{index}" for index in range(6)))
    undisturbed_session = ScriptedSession(solve_two_plus_three)
    undisturbed = search(problems, undisturbed_session)

    class KilledError(BaseException):
        pass

    async def die_after_ten(request):
        await asyncio.sleep(0)
        if len(killed_session.requests) >= 10:
            raise KilledError

    with ResponseStore(tmp_path / "responses") as store, pytest.raises(KilledError):
        killed_session = ScriptedSession(solve_two_plus_three, store, die_after_ten)
        search(problems, killed_session)
    with ResponseStore(tmp_path / "responses") as store:
        resumed_session = ScriptedSession(solve_two_plus_three, store)
        resumed = search(problems, resumed_session)
    num_answered = len(killed_session.requests)
    assert 10 <= num_answered < len(undisturbed_session.requests)
    assert len(resumed_session.requests) == len(undisturbed_session.requests) - num_answered
    assert resumed.usage.num_from_store == num_answered
    assert resumed.usage.completion_tokens == undisturbed.usage.completion_tokens > resumed.usage.replayed_tokens > 0
    for name in ("search_nodes", "search_edges", "rollouts"):
        assert getattr(resumed, name).equals(getattr(undisturbed, name))


def test_a_problem_longer_than_the_context_is_a_row_with_its_error_and_the_others_go_on():
    problems = rows_to_table("problems", [make_problem("long", prompt="2+3" + " " * 60), make_problem("short")])
    result = search(problems, max_model_len=64)
    rows = result.rollouts.to_pylist()
    (failed,) = [row for row in rows if row["error"]]
    assert failed["problem_id"] == "long"
    assert failed["error"].startswith("ContextLengthError: problem long: its prompt has 71 tokens")
    assert (failed["finish_reason"], failed["outcome_reward"], failed["answer"]) == ("error", None, None)
    assert {row["problem_id"] for row in rows if not row["error"]} == {"short"}
    assert (result.num_problems, result.num_errors) == (2, 0)  # its length is no fault of the engine


def test_a_server_error_inside_a_tree_keeps_the_paths_found_before():
    session = ScriptedSession(solve_two_plus_three)

    async def fail_for_slips(request):
        if "2+3=6" in session.tokenizer.decode(request.prompt_token_ids) and request.purpose == "expand":
            raise ServerError("the engine said 500")

    session.delay = fail_for_slips
    result = search(make_problems("p1"), session)
    rows = result.rollouts.to_pylist()
    assert [(row["answer"], row["error"]) for row in rows] == [("5", None), (None, "ServerError: the engine said 500")]
    assert rows[1]["tree_id"] == rows[0]["tree_id"]
    assert result.usage.num_errors == 1


def test_a_policy_that_says_nothing_is_an_error_of_that_problem():
    result = search(make_problems("p1"), ScriptedSession(lambda text, rng: ""))
    assert result.rollouts["error"].to_pylist() == ["NoStepError: the policy proposed no usable first step"]


def test_an_endless_step_is_cut_off_graded_as_wrong_and_marked():
    result = search(make_problems("p1"), ScriptedSession(lambda text, rng: "2+3=" + "5" * 200))
    (row,) = result.rollouts.to_pylist()
    assert (row["finish_reason"], row["answer"], row["outcome_reward"]) == ("length", None, 0.0)


def test_with_a_critic_only_complete_paths_are_graded():
    critic = critic_evaluator(lambda prompts, steps: [[0.25] * len(path) for path in steps], STARTER)
    session = ScriptedSession(solve_two_plus_three)
    result = search(make_problems("p1"), session, evaluate=critic, evaluator_version="critic-1")
    nodes = {row["step_text"]: row for row in result.search_nodes.to_pylist()}
    assert (nodes["2+3=5"]["raw_value"], nodes["2+3=5"]["num_samples"]) == (0.25, 0)
    assert nodes["#### 5"]["outcome_reward"] == 1.0
    assert {request.purpose for request in session.requests} == {"expand"}


def test_a_recipe_of_the_users_own_gives_its_name_to_the_rollouts():
    own = replace(RECIPES["puct"], name="deep", expand_to_end=True)
    result = search(make_problems("p1"), config=make_config(recipe="deep", num_simulations=1), recipes={"deep": own})
    assert set(result.rollouts["recipe"].to_pylist()) == {"deep"}


SEARCHING = sorted(name for name, recipe in RECIPES.items() if not recipe.merge_samples)
# Beside a step of value 1, one of value 0 is left alone by MCTS* (0 + 0.9 < 1), and drawn with odds of exp(-1 / 0.1).
ONLY_RIGHT = ("rest_mcts", "value_guided_decoding")


@pytest.mark.parametrize("recipe", SEARCHING)
def test_every_recipe_that_searches_is_found_by_the_configuration_and_reaches_the_answers(recipe):
    simulations = LONGER.get(recipe, 4)
    config = make_config(recipe=recipe, num_simulations=simulations)
    result = search(make_problems("p1"), config=config, corpus=CORPUS)
    rollouts = {row["answer"]: row for row in result.rollouts.to_pylist()}
    expected = {"5": 1.0} if recipe in ONLY_RIGHT else {"5": 1.0, "6": 0.0}
    assert {answer: row["outcome_reward"] for answer, row in rollouts.items()} == expected
    assert {row["recipe"] for row in rollouts.values()} == {recipe}
    again = search(make_problems("p1"), config=config, corpus=CORPUS)
    assert again.search_nodes.equals(result.search_nodes)


@pytest.mark.parametrize("recipe", SEARCHING)
def test_the_tables_of_every_recipe_pass_all_checks(recipe):
    problems = make_problems("p1", "p2")
    made = search(problems, config=make_config(recipe=recipe, num_simulations=8), corpus=CORPUS)
    tables = {name: getattr(made, name) for name in ("search_nodes", "search_edges", "rollouts")}
    with Warehouse.over({"problems": problems, **tables}) as warehouse:
        for check in (name for name in queries.names() if name.startswith("checks/")):
            assert warehouse.named(check).to_pylist() == []


@pytest.mark.parametrize("recipe", SEARCHING)
def test_a_policy_without_a_usable_step_is_a_failed_row_under_every_recipe(recipe):
    (row,) = search(
        make_problems("p1"), ScriptedSession(lambda text, rng: "\n"), config=make_config(recipe=recipe), corpus=CORPUS
    ).rollouts.to_pylist()
    assert row["error"] == "NoStepError: the policy proposed no usable first step"


def test_the_width_of_a_beam_names_its_rollouts_and_leaves_the_others_names_alone():
    def ids(**config):
        return set(search(make_problems("p1"), config=make_config(**config)).rollouts["sampling_digest"].to_pylist())

    assert ids(recipe="beam") == ids(recipe="beam", beam_width=4)
    assert ids(recipe="beam") != ids(recipe="beam", beam_width=3)
    assert ids(recipe="puct") == ids(recipe="puct", beam_width=3, exploration=1.0)
    assert ids(recipe="puct") != ids(recipe="puct", exploration=0.5)


def test_samples_merged_into_prefix_trees_are_rollouts_of_a_tree_without_any_search():
    session = ScriptedSession(solve_two_plus_three)
    config = make_config(recipe="prefix_tree_values", group_size=16)
    result = search(make_problems("p1", "p2"), session, config=config)
    assert {request.purpose for request in session.requests} == {"sample"}
    assert len(session.requests) == 2
    rollouts = [row for row in result.rollouts.to_pylist() if row["problem_id"] == "p1"]
    nodes = {row["node_id"]: row for row in result.search_nodes.to_pylist() if row["problem_id"] == "p1"}
    assert len(rollouts) == 16
    rewards = [row["outcome_reward"] for row in rollouts]
    assert (nodes[0]["visit_count"], nodes[0]["value"]) == (16, sum(rewards) / 16)
    assert {row["step_text"] for row in nodes.values()} == {"", "2+3=5", "2+3=6", "#### 5", "#### 6"}
    for row in rollouts:
        assert (row["recipe"], row["group_id"]) == ("prefix_tree_values", None)
        assert nodes[row["leaf_node_id"]]["step_text"] == row["steps"][-1]
        assert row["step_values"] == [row["outcome_reward"]] * 2
    samples = draw(make_problems("p1"), config=config).rollouts
    assert samples["steps"].to_pylist() == [row["steps"] for row in rollouts]
    assert not set(samples["rollout_id"].to_pylist()) & {row["rollout_id"] for row in rollouts}


def test_a_group_that_failed_has_rows_and_no_prefix_tree():
    async def delay(request):
        raise ServerError("gone")

    session = ScriptedSession(solve_two_plus_three, delay=delay)
    result = search(make_problems("p1"), session, config=make_config(recipe="prefix_tree_values"))
    assert (result.search_nodes.num_rows, result.num_errors) == (0, 1)
    assert {(row["error"], row["tree_id"], row["group_id"]) for row in result.rollouts.to_pylist()} == {
        ("ServerError: gone", None, None)
    }


def test_a_group_of_samples_has_one_row_per_sample_with_exact_tokens():
    result = draw(make_problems("p1", "p2"))
    rows = result.rollouts.to_pylist()
    assert [row["problem_id"] for row in rows] == ["p1"] * 4 + ["p2"] * 4
    assert len({row["rollout_id"] for row in rows}) == 8
    assert len({row["group_id"] for row in rows}) == 2
    for row in rows:
        assert (row["recipe"], row["tree_id"], row["step_values"]) == ("independent_samples", None, None)
        assert row["outcome_reward"] == float(row["answer"] == "5")
        assert "".join(map(chr, row["completion_token_ids"])) == "\n".join(row["steps"]) + "\n\0"
        assert row["num_tokens"] == 14
        assert row["sum_logprob"] == -7.0
    assert result.search_nodes.num_rows == 0
    assert result.usage.num_requests == 2


def test_samples_have_the_same_ids_and_texts_in_every_run_and_others_on_another_night():
    first, second = draw(make_problems("p1")), draw(make_problems("p1"))
    assert first.rollouts.equals(second.rollouts)
    session = ScriptedSession(solve_two_plus_three)
    other = asyncio.run(
        sample_rollouts(make_problems("p1"), session, STARTER, make_config(), night="2026-01-02", **GRADING)
    )
    assert not set(other.rollouts["rollout_id"].to_pylist()) & set(first.rollouts["rollout_id"].to_pylist())
    assert other.rollouts["seed"][0] != first.rollouts["seed"][0]


def test_a_failed_group_has_as_many_rows_as_a_group_that_did_not_fail():
    problems = rows_to_table("problems", [make_problem("long", prompt="2+3" + " " * 60), make_problem("short")])
    result = draw(problems, max_model_len=64)
    assert [row["error"] is None for row in result.rollouts.to_pylist()] == [False] * 4 + [True] * 4
    assert len(set(result.rollouts["rollout_id"].to_pylist())) == 8


def test_greedy_decoding_takes_one_sample_and_refuses_more():
    result = draw(make_problems("p1"), temperature=0.0, group_size=1)
    assert result.rollouts.num_rows == 1
    with pytest.raises(ConfigError, match="group_size is 4"):
        draw(make_problems("p1"), temperature=0.0)


def test_progress_is_told_for_every_problem():
    told = []
    draw(make_problems("p1", "p2"), on_progress=lambda stage, done, total, numbers: told.append((stage, done, total)))
    assert told == [("samples", 1, 2), ("samples", 2, 2)]


def test_gold_steps_follow_the_rules_of_the_generator():
    problem = make_problem("p1", prompt="2+3*4", reference_answer="20")
    rows = [
        {"rollout_id": "r1", "problem_id": "p1", "steps": ["2+3=5", "5*4=20", "#### 20"], "night": NIGHT},
        {"rollout_id": "r2", "problem_id": "p1", "steps": ["2+3=6", "6*4=24", "#### 24"], "night": NIGHT},
        {"rollout_id": "r3", "problem_id": "p1", "steps": [], "error": "ServerError: x", "night": NIGHT},
        {"rollout_id": "r4", "problem_id": "file", "steps": ["?"], "night": NIGHT},
    ]
    from_file = make_problem("file", source="mine.jsonl", family="mine")
    gold = gold_steps(rows_to_table("problems", [problem, from_file]), rows_to_table("rollouts", rows))
    labels = [(row["rollout_id"], row["step"], row["is_right"]) for row in gold.to_pylist()]
    assert labels[:4] == [("r1", 0, True), ("r1", 1, True), ("r1", 2, True), ("r2", 0, False)]
    assert {row[0] for row in labels} == {"r1", "r2"}


def test_an_error_rate_above_the_limit_or_nothing_but_errors_is_refused():
    check_error_rate(2, 100, 0.02)
    check_error_rate(0, 0, 0.0)
    with pytest.raises(ErrorRateError, match="3 of 100 failed"):
        check_error_rate(3, 100, 0.02)
    with pytest.raises(ErrorRateError, match="1 of 1 failed"):
        check_error_rate(1, 1, 1.0)


def test_the_choice_of_problems_is_stable_and_leaves_the_held_out_ones_alone():
    rows = [make_problem(f"p{index}", split="held_out" if index % 3 == 0 else "train") for index in range(30)]
    problems = rows_to_table("problems", rows)
    chosen = choose_problems(problems, 8, night=NIGHT, seed=0)
    assert chosen.num_rows == 8
    assert set(chosen["split"].to_pylist()) == {"train"}
    shuffled = problems.take(pa.array(list(reversed(range(30)))))
    assert choose_problems(shuffled, 8, night=NIGHT, seed=0).equals(chosen)
    assert not choose_problems(problems, 8, night="2026-01-02", seed=0).equals(chosen)
    assert choose_problems(problems, 99, night=NIGHT, seed=0).num_rows == 20


def test_every_beginning_of_the_chosen_problems_is_a_draw_of_all_families():
    """A search that ends early has begun a prefix of them: in the order of ids it would know one family only."""
    ids = [f"{family}-{number}" for family in ("arithmetic", "countdown", "dial") for number in range(40)]
    problems = rows_to_table("problems", [{"problem_id": one, "split": "train"} for one in ids])
    first = choose_problems(problems, 120, night=NIGHT, seed=0)["problem_id"].to_pylist()[:30]
    counts = Counter(one.partition("-")[0] for one in first)
    assert min(counts[family] for family in ("arithmetic", "countdown", "dial")) >= 5
