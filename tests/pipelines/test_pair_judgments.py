"""A scripted policy as a judge of pairs: in place with the starter's words, and in words with a chat's template."""

import asyncio
import math

import pyarrow as pa
import pytest

from pipelines.config import PairJudgmentsConfig
from pipelines.errors import ErrorRateError
from pipelines.inference.errors import ServerError
from pipelines.inference.scripted import ScriptedModel
from pipelines.judges.pair_reader import PairReader, labels, likeliest
from pipelines.judges.position_consistency import by_judge
from pipelines.pair_judgments import judge_pairs, verdict_of
from pipelines.reasoning.prompts import load_prompts
from pipelines.rows import rows_to_table
from pipelines.self_verdicts import VerdictTokens

PROBLEMS = rows_to_table("problems", [{"problem_id": "p", "prompt": "1+1"}])
CONFIG = PairJudgmentsConfig()
VERDICTS = VerdictTokens(right="R", wrong="W")


def pairs(*rows: dict) -> pa.Table:
    given = {"problem_id": "p", "kind": "rollout", "method": "m", "prompt": "1+1\n"}
    return rows_to_table("preference_pairs", [given | row for row in rows])


def judge(table: pa.Table, model: ScriptedModel, style: str, config: PairJudgmentsConfig = CONFIG) -> list[dict]:
    made = judge_pairs(PROBLEMS, table, model.session(None), load_prompts(style), config, night="n1")
    return asyncio.run(made).to_pylist()


def says(answer) -> ScriptedModel:
    """A judge in words; `answer(prompt)` is what it writes."""
    return ScriptedModel(lambda request: [answer("".join(map(chr, request.prompt_token_ids)))])


PAIR = {"pair_id": "x", "chosen": "1+1=2\n#### 2", "rejected": "1+1=3\n#### 3"}


def test_a_judge_in_words_is_shown_both_orders_and_its_last_line_counts():
    def knows(prompt: str) -> str:
        is_first = prompt.index("1+1=2") < prompt.index("1+1=3")
        return f"I see.\n#### {'second' if is_first else 'first'}\nNo:\n#### {'First' if is_first else 'Second'}."

    rows = judge(pairs(PAIR), says(knows), "chat")
    assert [(row["shown_first"], row["verdict"]) for row in rows] == [("chosen", "first"), ("rejected", "second")]
    assert all(row["request_id"] and row["judge_version"] == "scripted" and row["p_first"] is None for row in rows)
    (found,) = by_judge(rows_to_table("pair_judgments", rows))
    assert (found["num_pairs"], found["num_consistent"], found["inconsistency"]) == (1, 1, 0.0)


def test_a_judge_that_always_names_the_first_flips_and_one_without_a_verdict_has_none():
    rows = judge(pairs(PAIR), says(lambda prompt: "#### first"), "chat")
    (found,) = by_judge(rows_to_table("pair_judgments", rows))
    assert (found["num_first_twice"], found["inconsistency"]) == (1, 1.0)
    mute = judge(pairs(PAIR), says(lambda prompt: "both are fine"), "chat")
    assert [row["verdict"] for row in mute] == [None, None]
    (found,) = by_judge(rows_to_table("pair_judgments", mute))
    assert (found["num_pairs"], found["num_unreadable"], found["inconsistency"]) == (0, 1, None)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("#### first", "first"), ("#### SECOND.", "second"), ("#### first and second", None), ("", None),
     ("the first #### first", None), ("#### second\n#### first\n\n", "first")],
)  # fmt: skip
def test_a_verdict_is_a_line_of_its_own(text, verdict):
    assert verdict_of(text) == verdict


def test_the_shared_prefix_is_shown_to_both_and_only_pairs_of_solutions_are_judged():
    seen = []
    shared = {"pair_id": "s", "kind": "step", "prompt": "1+1\n0+1=1\n", "chosen": "1+1=2", "rejected": "1+1=3"}
    others = [{**PAIR, "pair_id": name, "kind": name} for name in ("critique", "policy_shift")]
    empty = {**PAIR, "pair_id": "e", "rejected": " "}
    rows = judge(pairs(shared, *others, empty), says(lambda prompt: seen.append(prompt) or "#### first"), "plain")
    assert {row["pair_id"] for row in rows} == {"s"}
    assert all(prompt.count("0+1=1") == 2 for prompt in seen)


def test_a_number_of_pairs_is_drawn_by_their_ids_and_none_is_no_request():
    many = [{**PAIR, "pair_id": str(number)} for number in range(20)]
    drawn = {row["pair_id"] for row in judge(pairs(*many), says(str), "chat", PairJudgmentsConfig(num_pairs=5))}
    assert len(drawn) == 5
    more = {row["pair_id"] for row in judge(pairs(*many[::-1]), says(str), "chat", PairJudgmentsConfig(num_pairs=9))}
    assert drawn < more
    model = says(str)
    assert judge(pairs(), model, "chat") == [] and model.requests == []


def test_failed_requests_are_rows_with_an_error_and_too_many_end_the_stage():
    def fails(prompt: str) -> str:
        raise ServerError("broken", "r")

    with pytest.raises(ErrorRateError, match="pair_judgments: 1 of 1 failed"):
        judge(pairs(PAIR), says(fails), "chat")
    made = judge_pairs(
        PROBLEMS, pairs(PAIR), says(str).session(None), load_prompts("chat"), CONFIG, night="n1", max_model_len=8
    )
    rows = asyncio.run(made).to_pylist()
    assert [row["verdict"] for row in rows] == [None, None]
    assert all(row["error"].startswith("ContextLengthError: the judge prompt of") for row in rows)


# -- in place --------------------------------------------------------------------------------------------------------


def opinion(request) -> list[float]:
    """R is unlikely after a 3, and after any step that has another solution before it."""
    text = "".join(map(chr, request.token_ids))
    p_right = 0.2 if "3" in text else 0.9
    p_right = 0.4 if text.count("####") > 1 else p_right
    return [math.log(0.5)] * (len(request.token_ids) - 2) + [math.log(p_right if text[-1] == "R" else 1 - p_right)]


def test_a_pairs_labels_are_which_of_the_two_is_right_alone():
    assert labels(0.9, 0.5) == pytest.approx({"first": 0.45, "second": 0.05, "tie": 0.5})
    assert sum(labels(0.3, 0.8).values()) == pytest.approx(1.0)
    assert likeliest({"first": 0.4, "second": 0.4, "tie": 0.2}) == "first"


def test_a_solution_is_read_alone_up_to_its_telling_step_and_then_behind_the_other():
    reader = PairReader(ScriptedModel(lambda request: [], opinion).session(None), "\n", VERDICTS)

    async def read():
        right = await reader.alone("1+1\n", ["1+1=2", "#### 2"])
        wrong = await reader.alone("1+1\n", ["1+1=3", "#### 3"], given=["0+1=1"])
        return right, wrong, await reader.after("1+1\n", right, wrong)

    right, wrong, behind = asyncio.run(read())
    assert (right.telling, wrong.telling) == (0, 1)  # the first of equal steps; of the steps that were not given
    assert (right.p, wrong.p) == pytest.approx((0.9, 0.2))
    assert wrong.steps == ("0+1=1", "1+1=3", "#### 3")
    assert behind == pytest.approx(0.2)  # up to the step with the 3, where the other's answer line is the only one
