"""ExPO and EGSR: explanations and reformulations of what no sample has solved, with likelihoods worked out by hand.

The scripted scorer gives every character of a text the same log-probability, by what the text holds. The answer line
"#### 4" has 7 characters to score, its line break counted.
"""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from agent_worlds import PROBLEM, RIGHT, WRONG, rollout
from reasoning_worlds import GRADING, NIGHT, make_problem

from pipelines.config import CritiquesConfig
from pipelines.critiques import criticise, expert_solutions
from pipelines.inference.errors import ServerError
from pipelines.inference.scripted import ScriptedModel
from pipelines.inference.types import ScoreRequest
from pipelines.reasoning.prompts import load_prompts
from pipelines.rows import rows_to_table

OTHER = ("2+3=5", "5-1=4 so", "#### 4")
EXPERT = rollout("tree", RIGHT, group_id=None, tree_id="t", num_given_tokens=0)
SOLVE = "<solve>2+3-1\n"
RIGHT_TEXT = "\n".join((*RIGHT, ""))


def explain(
    method: str,
    rollouts: Sequence[dict],
    said: str = RIGHT_TEXT,
    likelihood: Callable[[str], float] = lambda text: -0.5,
    style: str = "starter",
    model: ScriptedModel | None = None,
    **parameters: object,
) -> list[dict]:
    """The method's rows; `likelihood` is the log-probability of every character, given the whole scored text."""
    chosen = model or ScriptedModel(
        lambda request: [said] * request.sampling.n,
        lambda request: [likelihood(chosen.tokenizer.decode(request.token_ids))] * (len(request.token_ids) - 1),
    )
    config = {"methods": [{"method": method, "parameters": parameters}], "max_tokens": 400}
    made = asyncio.run(
        criticise(
            rows_to_table("problems", [PROBLEM]), rows_to_table("rollouts", list(rollouts)), chosen.session(),
            CritiquesConfig(**config), load_prompts(style), night=NIGHT, max_error_fraction=0.9, **GRADING,
        )
    )  # fmt: skip
    rows = made.critique_records.to_pylist()
    assert all(row["method"] == method and row["kept"] == (row["reason"] is None) for row in rows)
    return rows


def after_right_steps(text: str) -> float:
    """-0.125 per character of a text with the right first step, -0.5 of any other."""
    return -0.125 if "2+3=5" in text else -0.5


def test_an_explanation_that_makes_the_answer_likelier_is_kept_as_an_answer_to_the_plain_prompt():
    """The answer line's 7 characters: 7 * -0.125 = -0.875 after it, 7 * -0.5 = -3.5 after the wrong sample."""
    (row,) = explain("expo", [rollout("w", WRONG, 0.0)], likelihood=after_right_steps, num_explanations=1)
    assert (row["kept"], row["reward"], row["logprob"]) == (True, pytest.approx(2.625), -0.125)
    assert row["prompt"] == "<refine>2+3-1\n#### 4\n<review>\n0 wrong\nverdict 0\n<revise>\n"
    assert row["roles"] == ["user", "assistant"] and row["is_learned"] == [False, True]
    assert row["contents"] == [SOLVE, "2+3=5\n5-1=4\n#### 4\n"] and row["response"] == row["contents"][1]
    assert (row["predicted"], row["label"], row["kind"], row["problem_id"]) == ("4", "4", "expo", "p1")
    assert (row["num_requests"], row["rollout_id"], row["error"]) == (1, None, None)


def test_the_gain_is_over_the_mean_of_the_wrong_samples_whose_own_answers_are_left_out():
    scored = []

    def likelihood(text: str) -> float:
        scored.append(text)
        return -1.0 if "2+3=6" in text else -0.5 if "2+3=7" in text else -0.25

    samples = [rollout("a", WRONG, 0.0), rollout("b", ("2+3=7", "#### 7"), 0.0), rollout("c", ("#### 9",), 0.0)]
    (row,) = explain("expo", samples, likelihood=likelihood, num_explanations=1, num_references=2)
    assert row["reward"] == pytest.approx(7 * (-0.25 - (-1.0 - 0.5) / 2))
    assert {text.removeprefix(SOLVE) for text in scored} == {
        "2+3=5\n5-1=4\n#### 4\n", "2+3=6\n6-1=5\n#### 4\n", "2+3=7\n#### 4\n"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "likelihood", "parameters", "reason"),
    [
        ("\n".join(WRONG), after_right_steps, {}, "wrong_answer"),
        ("#### 4\n", after_right_steps, {}, "no_explanation"),
        ("\n \n", after_right_steps, {}, "unreadable"),
        ("\n".join(RIGHT), lambda text: -0.5, {}, "no_gain"),  # a tie gains nothing
        ("\n".join(RIGHT), after_right_steps, {"min_gain": 3.0}, "no_gain"),  # 2.625
        ("\n".join(RIGHT), after_right_steps, {"min_logprob": -0.1}, "unlikely"),
        ("\n".join(RIGHT), lambda text: float("nan"), {}, "not_scored"),
    ],
)
def test_an_explanation_that_is_not_kept_has_a_reason(said, likelihood, parameters, reason):
    (row,) = explain(
        "expo", [rollout("w", WRONG, 0.0)], said + "\n", likelihood=likelihood, num_explanations=1, **parameters
    )
    assert row["reason"] == reason


def test_equal_explanations_count_once_and_draws_differ_in_their_requests():
    rows = explain("expo", [rollout("w", WRONG, 0.0)], likelihood=after_right_steps, num_explanations=3)
    assert [row["reason"] for row in rows] == [None, "repeated", "repeated"]
    assert len({row["request_ids"][0] for row in rows}) == 3 and len({row["record_id"] for row in rows}) == 3


@pytest.mark.parametrize("method", ["expo", "egsr"])
def test_only_what_no_graded_sample_has_solved_is_explained(method):
    assert explain(method, [rollout("w", WRONG, 0.0), rollout("r")]) == []
    assert explain(method, [rollout("r"), rollout("r2"), EXPERT]) == []
    (row,) = explain(method, [rollout("u", WRONG, None)])
    assert (row["reason"], row["num_requests"]) == ("not_graded", 0)
    assert explain(method, []) == []


def test_a_failed_request_or_score_is_a_row_with_its_error():
    def fail(request):
        raise ServerError("too busy", "")

    silent = ScriptedModel(fail)
    with pytest.raises(Exception, match="1 of 1 failed"):
        explain("expo", [rollout("w", WRONG, 0.0)], model=silent, num_explanations=1)

    def no_scores(request: ScoreRequest) -> Sequence[float]:
        raise ServerError("too busy", "")

    mute = ScriptedModel(lambda request: ["\n".join((*RIGHT, ""))], no_scores)
    (row,) = explain("expo", [rollout("w", WRONG, 0.0)], model=mute, num_explanations=1)
    assert (row["reason"], row["reward"], row["error"][:11]) == ("not_scored", None, "ServerError")
    (row,) = explain("egsr", [rollout("w", OTHER, 0.0), EXPERT | {"steps": list(OTHER)}], model=mute, num_versions=1)
    assert (row["reason"], row["reward"], row["error"][:11]) == ("not_scored", None, "ServerError")


# EGSR -----------------------------------------------------------------------------------------------------------------


def likes_its_own(text: str) -> float:
    return -0.25 if "4 so" in text else -0.75


def test_a_version_that_is_likelier_than_the_experts_text_is_kept():
    """-0.25 per token against the expert's -0.75: a gain of 0.5."""
    samples = [rollout("w", WRONG, 0.0), EXPERT]
    (row,) = explain("egsr", samples, "\n".join((*OTHER, "")), likes_its_own, num_versions=1)
    assert (row["kept"], row["reward"], row["logprob"]) == (True, 0.5, -0.25)
    assert row["prompt"] == (
        "<refine>2+3-1\n2+3=5\n5-1=4\n#### 4\n<review>\n0 right\n1 right\n2 right\nverdict -1\n<revise>\n"
    )
    assert row["contents"] == [SOLVE, "2+3=5\n5-1=4 so\n#### 4\n"]


@pytest.mark.parametrize(
    ("said", "likelihood", "reason"),
    [
        (RIGHT, likes_its_own, "copied"),
        (WRONG, likes_its_own, "wrong_answer"),
        ((" ",), likes_its_own, "unreadable"),
        (OTHER, lambda text: -0.5, "not_likelier"),  # a tie is not likelier
        (OTHER, lambda text: -likes_its_own(text) - 1.0, "not_likelier"),
    ],
)
def test_a_version_that_is_not_kept_has_a_reason(said, likelihood, reason):
    (row,) = explain("egsr", [rollout("w", WRONG, 0.0), EXPERT], "\n".join((*said, "")), likelihood, num_versions=1)
    assert row["reason"] == reason


def test_without_a_right_path_of_a_tree_there_is_no_expert():
    (row,) = explain("egsr", [rollout("w", WRONG, 0.0)])
    assert (row["reason"], row["num_requests"]) == ("no_expert", 0)


def test_experts_are_right_own_unfailed_paths_of_trees_the_first_by_id():
    tree = {"group_id": None, "tree_id": "t"}
    rows = [
        rollout("b", RIGHT, **tree), rollout("a", OTHER, **tree), rollout("c", RIGHT, problem_id="p2"),
        rollout("d", RIGHT, problem_id="p3", num_given_tokens=2, **tree), rollout("e", WRONG, 0.0, **tree),
        rollout("f", RIGHT, problem_id="p4", error="lost", **tree), rollout("g", RIGHT, None, problem_id="p5", **tree),
    ]  # fmt: skip
    assert expert_solutions(rows_to_table("rollouts", rows)) == {"p1": OTHER}


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_models_of_words_are_asked_in_words_and_learn_an_answer_to_the_plain_prompt(style):
    samples = [rollout("w", WRONG, 0.0), EXPERT]
    (row,) = explain("expo", samples, likelihood=after_right_steps, style=style, num_explanations=1)
    assert row["kept"] and "Answer: 4\n" in row["prompt"]
    assert row["contents"][0] == load_prompts(style).solve_prompt(make_problem(prompt="2+3-1"))
    (row,) = explain("egsr", samples, "\n".join((*OTHER, "")), likes_its_own, style=style, num_versions=1)
    assert row["kept"] and "2+3=5\n5-1=4\n#### 4\n" in row["prompt"]
