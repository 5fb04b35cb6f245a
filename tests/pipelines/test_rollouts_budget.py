"""Search under a budget: unequal trees, spent tokens, useless trees replaced, a guide for some, rows that leave."""

import asyncio
from dataclasses import dataclass

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

from pipelines import row_stream
from pipelines.budget import TokenBudget, unguided_problems
from pipelines.inference.response_store import ResponseStore
from pipelines.problem_rows import TABLES
from pipelines.reasoning.evaluate import critic_evaluator
from pipelines.rollouts import sample_rollouts, search_rollouts
from pipelines.rows import rows_to_table

CRITIC = critic_evaluator(lambda prompts, steps: [[0.25] * len(path) for path in steps], STARTER)


def search(problems, session=None, *, config=None, **options):
    session = session or ScriptedSession(solve_two_plus_three)
    return asyncio.run(
        search_rollouts(problems, session, STARTER, config or make_config(), night=NIGHT, **GRADING, **options)
    )


def draw(problems, session, **options):
    return asyncio.run(
        sample_rollouts(problems, session, STARTER, make_config(), night=NIGHT, **GRADING, **options)
    )  # fmt: skip


def root_visits(result) -> dict[str, int]:
    return {row["problem_id"]: row["visit_count"] for row in result.search_nodes.to_pylist() if row["node_id"] == 0}


def ten_problems() -> pa.Table:
    return make_problems(*(f"p{index}" for index in range(10)))


# allocation -------------------------------------------------------------------------------------


def test_each_tree_gets_its_own_number_of_simulations_and_says_so_in_its_digest():
    config = make_config(recipe="uct", num_candidates=1, temperature=0.0, num_evaluations=1)
    problems = make_problems("p1", "p2")
    equal = search(problems, config=config)
    shared = search(problems, config=config, simulations={"p1": 1, "p2": 4})
    nodes = {key: shared.search_nodes["problem_id"].to_pylist().count(key) for key in ("p1", "p2")}
    assert nodes == {"p1": 2, "p2": 3}  # one simulation adds one step to the root, the second one the answer
    digests = dict(zip(*(shared.rollouts[name].to_pylist() for name in ("problem_id", "sampling_digest")), strict=True))
    assert digests["p2"] in equal.rollouts["sampling_digest"].to_pylist()  # 4 simulations are the configured number
    assert "p1" not in digests or digests["p1"] != digests["p2"]


# tokens -----------------------------------------------------------------------------------------


def test_a_spent_budget_admits_no_further_tree_and_keeps_the_rows_of_those_that_are_done():
    session = ScriptedSession(solve_two_plus_three)
    one_tree = search(make_problems("p0"), ScriptedSession(solve_two_plus_three)).usage
    limit = 3 * (one_tree.prompt_tokens + one_tree.completion_tokens)
    budget = TokenBudget(limit, session.stats)
    result = search(ten_problems(), session, config=make_config(trees_in_flight=1), is_spent=budget.is_spent)
    assert set(root_visits(result)) == {f"p{index}" for index in range(result.num_problems)}
    assert 3 <= result.num_problems <= 4
    assert result.num_problems + result.num_not_started == 10
    spent = session.stats.prompt_tokens + session.stats.completion_tokens
    assert limit <= spent <= limit + one_tree.prompt_tokens + one_tree.completion_tokens
    undisturbed = search(ten_problems())
    num_whole = result.rollouts.num_rows - (2 if result.num_cut_short else 0)
    assert result.rollouts.slice(0, num_whole).equals(undisturbed.rollouts.slice(0, num_whole))


def test_trees_under_way_end_with_their_simulation_and_have_no_half_valued_nodes():
    session = ScriptedSession(solve_two_plus_three)
    spent = []

    async def spend_after_twenty(request):
        await asyncio.sleep(0)
        if len(session.requests) >= 20:
            spent.append(True)

    session.delay = spend_after_twenty
    config = make_config(num_simulations=50, trees_in_flight=10)
    result = search(ten_problems(), session, config=config, is_spent=lambda: bool(spent))
    assert result.num_cut_short > 0
    assert result.num_problems + result.num_not_started == 10
    assert all(row["raw_value"] is not None for row in result.search_nodes.to_pylist() if row["node_id"])
    assert all(visits > 0 for visits in root_visits(result).values())
    assert result.num_errors == 0


def test_a_tree_that_was_stopped_before_its_first_step_is_no_row_and_no_error():
    answers = iter([False])
    result = search(make_problems("p1"), is_spent=lambda: next(answers, True))
    assert (result.num_problems, result.num_not_started, result.num_errors) == (0, 1, 0)
    assert result.rollouts.num_rows == result.search_nodes.num_rows == 0


def test_a_killed_and_finished_run_has_one_budget_and_the_rows_of_an_undisturbed_one(tmp_path):
    """Replayed answers count: without that each new beginning would have the whole limit again."""
    limit = 1000

    def run(store, killed_after: int | None = None):
        session = ScriptedSession(solve_two_plus_three, store)

        async def kill(request):
            if len(session.requests) == killed_after:
                raise RuntimeError("killed")

        session.delay = kill
        is_spent = TokenBudget(limit, session.stats).is_spent
        try:
            result = search(ten_problems(), session, config=make_config(trees_in_flight=1), is_spent=is_spent)
        except RuntimeError:
            result = None
        return result, [request.request_id(session.model_digest) for request in session.requests]

    undisturbed, asked = run(None)
    assert 0 < undisturbed.num_problems < 10
    asked_in_all = []
    for killed_after in (1, 2, None):
        with ResponseStore(tmp_path / "responses") as store:
            result, asked_now = run(store, killed_after)
            asked_in_all += asked_now
            assert (result is None) == (killed_after is not None)
    for table in TABLES:
        assert getattr(result, table).equals(getattr(undisturbed, table))
    assert sorted(asked_in_all) == sorted(set(asked))


def test_no_group_of_samples_begins_after_the_budget_is_spent():
    session = ScriptedSession(solve_two_plus_three)
    budget = TokenBudget(100, session.stats)
    result = draw(ten_problems(), session, is_spent=budget.is_spent, groups_in_flight=1)
    assert (result.num_problems, result.num_not_started) == (2, 8)  # 8 prompt tokens and 4 x 14 completion tokens each
    assert result.rollouts.num_rows == 2 * 4


# usefulness -------------------------------------------------------------------------------------


def always_right(text: str, rng) -> str:
    return "2+3=5\n#### 5\n" if "2+3=" not in text else "" if "####" in text else "#### 5\n"


@dataclass
class HalfHopeless:
    """Solves every other problem surely, the others as `solve_two_plus_three` does; told apart by a blank."""

    def __call__(self, text: str, rng) -> str:
        return (always_right if " " in text else solve_two_plus_three)(text, rng)


def mixed_problems(num: int) -> pa.Table:
    rows = [make_problem(f"p{index:02}", prompt="2+3 " if index % 2 else "2+3") for index in range(num)]
    return rows_to_table("problems", rows)


@pytest.mark.parametrize("trees_in_flight", [1, 3, 16])
def test_useless_trees_are_replaced_until_enough_are_useful_whatever_the_order_of_answers(trees_in_flight):
    session = ScriptedSession(HalfHopeless())
    result = search(mixed_problems(16), session, config=make_config(trees_in_flight=trees_in_flight), num_wanted=4)
    assert result.num_useful == 4
    assert sorted(root_visits(result)) == [f"p{index:02}" for index in range(7)]  # p00, p02, p04, p06 are useful
    assert (result.num_problems, result.num_not_started) == (7, 9)


def test_a_draw_that_is_too_small_is_used_up():
    result = search(mixed_problems(5), ScriptedSession(HalfHopeless()), num_wanted=4)
    assert (result.num_problems, result.num_useful, result.num_not_started) == (5, 3, 0)


# settled trees ----------------------------------------------------------------------------------


def many_ways(text: str, rng) -> str:
    """Every first step is worded differently; a problem with a blank is always solved, the others every other time."""
    answer = "#### 5\n" if "2+3 " in text or rng.random() < 0.5 else "#### 6\n"
    if "way" not in text:
        return f"way {rng.randrange(10**6)}\n{answer}"
    return "" if "####" in text else answer


def test_a_tree_whose_outcome_is_settled_stops_and_others_go_on():
    problems = rows_to_table("problems", [make_problem("sure", prompt="2+3 "), make_problem("unsure")])

    def num_nodes(stop_when_settled: bool, num_candidates: int) -> tuple[int, dict[str, int]]:
        config = make_config(stop_when_settled=stop_when_settled, num_candidates=num_candidates, num_simulations=3)
        result = search(problems, ScriptedSession(many_ways), config=config)
        ids = result.search_nodes["problem_id"].to_pylist()
        return result.num_settled, {key: ids.count(key) for key in ("sure", "unsure")}

    assert num_nodes(True, 30) == num_nodes(False, 30)  # 30 right first steps do not settle a tree
    num_settled, stopped = num_nodes(True, 40)
    assert (num_settled, stopped["sure"]) == (1, 1 + 40)
    _, unlimited = num_nodes(False, 40)
    assert stopped["sure"] < unlimited["sure"]
    assert stopped["unsure"] == unlimited["unsure"]


# guidance ---------------------------------------------------------------------------------------


def test_the_unguided_share_is_searched_by_completions_and_every_row_says_which_it_was():
    problems = ten_problems()
    unguided = unguided_problems(problems["problem_id"].to_pylist(), NIGHT, 0.2)
    session = ScriptedSession(solve_two_plus_three)
    result = search(problems, session, evaluate=CRITIC, evaluator_version="critic-1", unguided=unguided)
    assert result.num_guided == 8
    for table in (result.search_nodes, result.rollouts):
        is_guided = {(row["problem_id"], row["is_guided"]) for row in table.to_pylist()}
        assert is_guided == {(f"p{index}", f"p{index}" not in unguided) for index in range(10)}
    completions = {
        row["problem_id"] for row in result.search_nodes.to_pylist() if row["num_samples"] and not row["is_terminal"]
    }
    assert completions == unguided


def test_the_unguided_trees_are_the_same_as_on_a_night_without_a_critic():
    problems = ten_problems()
    unguided = unguided_problems(problems["problem_id"].to_pylist(), NIGHT, 0.2)
    guided = search(problems, evaluate=CRITIC, evaluator_version="critic-1", unguided=unguided)
    plain = search(problems)
    kept = [row for row in plain.rollouts.to_pylist() if row["problem_id"] in unguided]
    assert [row for row in guided.rollouts.to_pylist() if not row["is_guided"]] == kept


def test_independent_samples_are_unguided():
    result = draw(make_problems("p1"), ScriptedSession(solve_two_plus_three))
    assert set(result.rollouts["is_guided"].to_pylist()) == {False}


# rows that leave --------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["puct", "prefix_tree_values"])
def test_rows_that_are_kept_elsewhere_are_the_rows_of_the_tables_in_chunks_of_whole_problems(recipe, monkeypatch):
    monkeypatch.setattr(row_stream, "ROWS_PER_CHUNK", 5)
    config = make_config(recipe=recipe)
    in_memory = search(ten_problems(), config=config)
    chunks: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
    streamed = search(ten_problems(), config=config, keep=lambda table, rows: chunks[table].append(rows))
    for name in TABLES:
        assert getattr(streamed, name).num_rows == 0
        assert pa.concat_tables(chunks[name]).combine_chunks().equals(getattr(in_memory, name))
    assert len(chunks["rollouts"]) > 2
    problems = [set(chunk["problem_id"].to_pylist()) for chunk in chunks["rollouts"]]
    assert sum(len(one) for one in problems) == 10  # no problem is in two chunks
    assert (streamed.num_problems, streamed.usage) == (in_memory.num_problems, in_memory.usage)


def test_rows_with_many_tokens_leave_earlier(monkeypatch):
    monkeypatch.setattr(row_stream, "TOKENS_PER_CHUNK", 1)
    chunks = []
    search(ten_problems(), keep=lambda table, rows: chunks.append(table))
    assert chunks.count("rollouts") == 10


def test_every_problem_says_what_its_tree_and_what_its_samples_cost():
    session = ScriptedSession(solve_two_plus_three)
    searched = search(make_problems("p1", "p2"), session)
    sampled = draw(make_problems("p1"), session)
    rows = [*searched.token_usage.to_pylist(), *sampled.token_usage.to_pylist()]
    assert [(row["problem_id"], row["stage"]) for row in rows] == [
        ("p1", "search"),
        ("p2", "search"),
        ("p1", "samples"),
    ]
    # the prompt "<solve>2+3" and a line break has 11 tokens; each of the four samples has 14
    assert {name: rows[2][name] for name in ("num_requests", "prompt_tokens", "completion_tokens")} == {
        "num_requests": 1, "prompt_tokens": 11, "completion_tokens": 56,
    }  # fmt: skip
    assert sum(row["completion_tokens"] for row in rows) == session.stats.completion_tokens
    assert sum(row["prompt_tokens"] for row in rows) == session.stats.prompt_tokens
