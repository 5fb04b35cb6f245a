"""The policy corrects whole answers of its own, and what nodes of whole answers are to those who read steps."""

import asyncio
from dataclasses import replace

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

from critics.examples import examples_from_trees
from pipelines.config import AgentConfig, PairsConfig, TrainingSetsConfig, TreeExtractsConfig
from pipelines.preference_pairs import build_pairs
from pipelines.reasoning.evaluate import critic_evaluator
from pipelines.reasoning.refine import evaluate_last_answer, make_refine, whole_answer
from pipelines.reasoning.solve import solve_with_critic
from pipelines.rollouts import gold_steps, search_rollouts
from pipelines.rows import rows_to_table
from pipelines.search.picks import pick_by_descent
from pipelines.search.recipes import RECIPES
from pipelines.search.types import Candidate, Evaluation, Path
from pipelines.tables import SCHEMAS
from pipelines.training_sets import build_training_sets
from pipelines.tree_extracts import extract_trees
from pipelines.warehouse import Warehouse

CRITIQUE = "0 wrong 2+3=5\nverdict 0\n"


def slip_then_repair(text, rng):
    """Always slips at first, and every other time writes the right answer after a critique."""
    if text.startswith("<refine>"):
        return "2+3=5\n#### 5\n" if rng.random() < 0.5 else "2+3=7\n#### 7\n"
    if text.startswith("<critique"):
        return CRITIQUE
    return f"2+3=6\n#### {6 if rng.random() < 0.5 else 8}\n"


def make_answer(text: str, **changes) -> Candidate:
    answer = Candidate(text, tuple(map(ord, text)), -1.0, 1.0, True, "r1", (-0.5,) * len(text))
    return replace(answer, **changes)


def refine_one(write=slip_then_repair, *, draw=1, max_model_len=None, **changes):
    session = ScriptedSession(write)
    refine = make_refine(session, STARTER, make_config(**changes), night=NIGHT, max_model_len=max_model_len)
    path = Path(make_problem(), (make_answer("2+2=4\n#### 4"), make_answer("2+3=6\n#### 6")), draw)
    return asyncio.run(refine(path)), session


def texts_asked(session):
    return [session.tokenizer.decode(request.prompt_token_ids) for request in session.requests]


def test_a_refinement_follows_a_critique_of_the_last_answer_alone():
    refined, session = refine_one()
    assert texts_asked(session) == [
        "<critique_a>2+3\n2+3=6\n#### 6\n<review>\n",
        f"<refine>2+3\n2+3=6\n#### 6\n<review>\n{CRITIQUE}<revise>\n",
    ]
    assert [request.purpose for request in session.requests] == ["critique", "refine"]
    assert refined.step_text in ("2+3=5\n#### 5", "2+3=7\n#### 7")
    assert refined.is_terminal


def test_a_refinement_has_its_own_tokens_their_log_probabilities_and_its_own_prompt():
    refined, session = refine_one()
    assert session.tokenizer.decode(refined.token_ids) == refined.step_text + "\n"
    assert len(refined.token_logprobs) == len(refined.token_ids)
    assert refined.sum_logprob == pytest.approx(-0.5 * len(refined.token_ids))
    assert refined.prompt_token_ids == session.requests[1].prompt_token_ids


def test_another_draw_asks_with_other_seeds_and_the_same_draw_with_the_same():
    seeds = [[request.seed for request in refine_one(draw=draw)[1].requests] for draw in (1, 2, 1)]
    assert seeds[0] == seeds[2]
    assert not set(seeds[0]) & set(seeds[1])


@pytest.mark.parametrize("silent", ["<critique", "<refine"])
def test_an_empty_critique_or_refinement_is_no_refinement(silent):
    assert refine_one(lambda text, rng: " \n" if text.startswith(silent) else slip_then_repair(text, rng))[0] is None


def test_a_full_context_is_no_refinement_and_the_second_request_is_not_sent():
    refined, session = refine_one(max_model_len=60)
    assert refined is None
    assert [request.purpose for request in session.requests] == ["critique"]


def test_a_refinement_that_a_limit_cut_off_says_so():
    refined, _ = refine_one(max_tokens=10)
    assert (refined.finish_reason, refined.is_terminal) == ("length", True)


def test_the_steps_of_a_sample_become_one_answer_with_all_their_tokens():
    steps = [make_answer("2+3=5\n", step_text="2+3=5", is_terminal=False), make_answer("#### 5\n", step_text="#### 5")]
    answer = whole_answer(steps, "\n")
    assert answer.step_text == "2+3=5\n#### 5"
    assert "".join(map(chr, answer.token_ids)) == "2+3=5\n#### 5\n"
    assert answer.sum_logprob == -6.5


def test_a_critic_reads_the_steps_of_the_last_answer_alone():
    seen = []

    async def evaluate(path):
        seen.append((path.step_texts, path.is_terminal, path.is_truncated))
        return Evaluation(0.5)

    path = Path(make_problem(), (make_answer("2+3=6\n#### 6"), make_answer("2+3=5\n####", finish_reason="length")))
    asyncio.run(evaluate_last_answer(evaluate, "\n")(path))
    assert seen == [(["2+3=5", "####"], True, True)]


def search(recipe="mcts_self_refine", *, write=slip_then_repair, problems=("p1",), **changes):
    session = ScriptedSession(write)
    config = make_config(**({"recipe": recipe, "num_simulations": 12, "max_tokens": 64} | changes))
    table = make_problems(*problems)
    reviewer = AgentConfig(name="critique_b")
    made = asyncio.run(search_rollouts(table, session, STARTER, config, night=NIGHT, reviewer=reviewer, **GRADING))
    return made, session


@pytest.mark.parametrize("recipe", ["mcts_self_refine", "mc_nest"])
def test_every_answer_of_a_tree_is_a_rollout_with_its_own_prompt_and_tokens(recipe):
    made, session = search(recipe)
    nodes = {row["node_id"]: row for row in made.search_nodes.to_pylist()}
    rollouts = made.rollouts.to_pylist()
    assert len(rollouts) == len(nodes) - 1 > 2
    for row in rollouts:
        node = nodes[row["leaf_node_id"]]
        prompt = session.tokenizer.decode(row["prompt_token_ids"])
        assert prompt.startswith(
            "<solve>" if node["parent_id"] == 0 else "<refine>2+3\n" + nodes[node["parent_id"]]["step_text"]
        )
        assert session.tokenizer.decode(row["completion_token_ids"]) == "\n".join([*row["steps"], ""])
        assert row["completion_token_ids"] == node["token_ids"]
        assert len(row["token_logprobs"]) == row["num_tokens"]
        assert (row["step_values"], row["group_id"], row["error"]) == (None, None, None)
        assert row["outcome_reward"] == node["outcome_reward"] == float(row["answer"] == "5")
    assert {node["node_kind"] for node in nodes.values()} == {"answer"}
    assert {"<critique_b>2+3"} == {text.split("\n")[0] for text in texts_asked(session) if "critique" in text}


def test_a_night_of_whole_answers_is_the_same_again():
    (first, _), (second, _) = search("mc_nest", problems=("p1", "p2")), search("mc_nest", problems=("p1", "p2"))
    assert first.search_nodes.equals(second.search_nodes)
    assert first.rollouts.equals(second.rollouts)


def test_first_answers_without_text_are_a_failed_problem():
    made, _ = search(write=lambda text, rng: "")
    (row,) = made.rollouts.to_pylist()
    assert row["error"].startswith("NoStepError")


def step_tables(made):
    """Everything that is made from steps of trees."""
    problems = make_problems("p1")
    extracts = extract_trees(
        problems, made.search_nodes, made.search_edges, made.rollouts, TreeExtractsConfig(min_completions=1), NIGHT
    )
    pairs = build_pairs(problems, made.search_nodes, made.rollouts, None, PairsConfig(), NIGHT)
    empty = {name: rows_to_table(name, []) for name in SCHEMAS}
    sets = build_training_sets(
        problems, made.rollouts, made.search_nodes, pairs, empty["consistent_rollouts"], empty["verdicts"],
        empty["refinements"], empty["step_scores"], STARTER, TrainingSetsConfig(min_step_visits=1, min_step_score=0.0),
        NIGHT,
    )  # fmt: skip
    examples = examples_from_trees(problems, made.search_nodes, STARTER.verify_prompt)
    made_of_steps = [extracts.node_values, extracts.first_errors, pairs, sets["stepwise"]]
    return [*(table.num_rows for table in made_of_steps), examples.num_nodes], sets


def test_whole_answers_are_no_steps_to_anything_that_learns_from_steps():
    numbers, sets = step_tables(search()[0])
    assert numbers == [0] * 5
    assert sets["rl_groups"].num_rows == 0
    assert [row["completion"] for row in sets["sft"].to_pylist()] == ["2+3=5\n#### 5\n"]
    assert sets["sft"]["prompt"].to_pylist() == ["<solve>2+3\n"]


def test_the_same_search_by_steps_does_feed_them():
    made, _ = search("puct", write=solve_two_plus_three, num_simulations=4)
    assert all(step_tables(made)[0])


def test_gold_steps_are_judged_in_whole_answers_too():
    made, _ = search()
    judged = gold_steps(make_problems("p1"), made.rollouts)
    assert judged.num_rows == sum(len(row["steps"]) for row in made.rollouts.to_pylist())


@pytest.mark.parametrize(("recipe", "num_marked"), [("mcts_self_refine", 0), ("puct", 1)])
def test_a_first_error_is_marked_at_the_node_of_its_step_and_nowhere_in_a_whole_answer(recipe, num_marked):
    made, _ = search(recipe, write=solve_two_plus_three if recipe == "puct" else slip_then_repair)
    tables = {
        "search_nodes": made.search_nodes,
        "rollouts": made.rollouts,
        "gold_steps": gold_steps(make_problems("p1"), made.rollouts),
    }
    with Warehouse.over(tables) as warehouse:
        marked = warehouse.named(
            "trees/first_errors", tree_id=made.search_nodes["tree_id"][0].as_py(), night=NIGHT
        )  # fmt: skip
    assert marked.num_rows == num_marked


def solve(score, **options):
    session = ScriptedSession(slip_then_repair)
    return asyncio.run(
        solve_with_critic(
            make_problems("p1"),
            session,
            STARTER,
            make_config(num_simulations=12),
            night=NIGHT,
            evaluate=critic_evaluator(score, STARTER),
            recipe=RECIPES["mcts_self_refine"],
            **GRADING,
            **options,
        )  # fmt: skip
    )[0]


def score_truth(prompts, steps):
    return [[0.9 if "5" in step else 0.1 for step in path] for path in steps]


def test_the_answer_is_the_one_that_the_critic_likes_best_also_where_it_is_a_refinement():
    solution = solve(score_truth)
    assert (solution.answer, solution.outcome_reward, solution.steps) == ("5", 1.0, ("2+3=5", "#### 5"))
    assert solve(score_truth, pick=pick_by_descent).answer in ("6", "8")
