"""Every further method of agents on groups worked out by hand, through the pipeline."""

import pytest
from agent_worlds import RIGHT, WRONG, computing_critic, records, rollout, say

from pipelines.agents.ask import Reply
from pipelines.agents.corruption import equation_holds
from pipelines.agents.local_and_global import share_without_error
from pipelines.agents.magicore import Scored, confidence, is_hard, review, voted
from pipelines.agents.parse import Failure, Judgement
from pipelines.agents.said import Said
from pipelines.agents.tool_critique import calculated
from pipelines.agents.unary_feedback import episode_reward
from pipelines.config import AgentConfig
from pipelines.errors import ConfigError
from pipelines.rows import rows_to_table
from pipelines.warehouse import Warehouse


def blind(text: str) -> str:
    """Agents that find nothing; everybody else as before."""
    if text.startswith("<critique"):
        return "\n".join([*(f"{i} right" for i in range(len(text.split("\n")) - 3)), "verdict -1", ""])
    return say(text)


def only(rows: list[dict], kind: str) -> list[dict]:
    return [row for row in rows if row["kind"] == kind]


# tampered_solutions ------------------------------------------------------------------------------


def test_a_critic_that_computes_finds_every_inserted_error_and_raises_no_false_alarm():
    rows = records("tampered_solutions", [rollout("a"), rollout("w", WRONG, 0.0)])
    assert {row["rollout_id"] for row in rows} == {"a"}  # wrong samples are not tampered with
    tampered, untouched = only(rows, "tampered"), only(rows, "untouched")
    assert len(tampered) == len(untouched) == 3
    assert all(row["predicted"] == row["label"] == str(row["step"]) and row["reward"] == 1.0 for row in tampered)
    assert all(row["predicted"] == row["label"] == "-1" for row in untouched)


def test_precision_and_recall_of_inserted_errors_are_counted_per_agent():
    """a finds nothing, b finds all, c cannot be read."""

    def script(text: str) -> str:
        if text.startswith("<critique_c>"):
            return "hm"
        return blind(text) if text.startswith("<critique_a>") else say(text)

    rows = records("tampered_solutions", [rollout("a"), rollout("b")], script)
    assert {(row["agent"], row["reason"]) for row in only(rows, "tampered")} == {
        ("critique_a", "missed"), ("critique_b", None), ("critique_c", "unreadable"),
    }  # fmt: skip
    assert {row["reward"] for row in rows if row["agent"] == "critique_c"} == {None}
    with Warehouse.over({"critique_records": rows_to_table("critique_records", rows)}) as warehouse:
        told = {row["agent"]: row for row in warehouse.named("reports/tampering").to_pylist()}
        counts = warehouse.named("reports/critique_records").to_pylist()
    assert (told["critique_a"]["recall"], told["critique_a"]["precision"]) == (0.0, None)
    assert (told["critique_b"]["recall"], told["critique_b"]["precision"]) == (1.0, 1.0)
    assert (told["critique_c"]["recall"], told["critique_c"]["num_unreadable"]) == (None, 4)
    assert sum(row["num_records"] for row in counts) == len(rows) == 12


def test_a_model_can_insert_the_error_and_what_it_does_not_change_is_not_corruptible():
    def script(text: str) -> str:
        if text.startswith("Put one"):
            return "step 1: 5-1=3"
        return "verdict 1"

    config = {"agents": [{"name": "only"}]}
    rows = records("tampered_solutions", [rollout("a")], script, "plain", config, by="model", with_untouched=False)
    assert [(row["label"], row["predicted"], row["num_requests"]) for row in rows] == [("1", "1", 2)]
    same = records(
        "tampered_solutions", [rollout("a")], lambda text: "step 1: 5-1=4", "plain", config, by="model",
        with_untouched=False,
    )  # fmt: skip
    assert [row["reason"] for row in same] == ["not_corruptible"]
    with pytest.raises(ConfigError, match="agents/tamper.txt"):
        records("tampered_solutions", [rollout("a")], by="model")


# typed_corruptions -------------------------------------------------------------------------------


def test_typed_feedback_is_kept_where_the_refinement_is_right():
    rows = records("typed_corruptions", [rollout("a")], kinds=["wrong_number", "missing_step"])
    assert [(row["kind"], row["label"], row["reward"], row["reason"]) for row in rows] == [
        ("wrong_number", "wrong_number", 1.0, None), ("missing_step", "missing_step", 1.0, None),
    ]  # fmt: skip
    number = rows[0]
    assert f"{number['step']} wrong {RIGHT[number['step']]}" in number["response"].split("\n")
    fails = records("typed_corruptions", [rollout("a")], lambda text: "#### 9\n", kinds=["wrong_number"])
    assert [(row["reward"], row["reason"]) for row in fails] == [(0.0, "refinement_fails")]
    none = records("typed_corruptions", [rollout("a", ("#### 4",))], kinds=["wrong_operator"])
    assert [row["reason"] for row in none] == ["not_corruptible"]


# self_play ---------------------------------------------------------------------------------------


def test_a_critic_that_computes_beats_a_generator_whose_errors_break_equations():
    (game,) = only(records("self_play", [rollout("a")], num_completions=2), "generator")
    rows = records("self_play", [rollout("a")], num_completions=2)
    sneaky, right = only(rows, "critic_sneaky_step")[0], only(rows, "critic_right_step")[0]
    if game["label"] == "wrong_number":
        assert (sneaky["reward"], game["reward"]) == (1.0, -1.0)
    assert (sneaky["label"], right["label"], right["reward"]) == ("wrong", "right", 1.0)
    assert sneaky["reward"] == -game["reward"]


def test_a_blind_critic_loses_every_harmful_game_and_keeps_right_steps():
    rows = records("self_play", [rollout("a")], blind, num_completions=2)
    assert {row["kind"]: row["reward"] for row in rows} == {
        "generator": 1.0, "critic_sneaky_step": -1.0, "critic_right_step": 1.0,
    }  # fmt: skip


def test_an_error_that_does_no_harm_is_a_void_game():
    def script(text: str) -> str:
        return "#### 4\n" if text.startswith("<solve>") else say(text)  # right whatever came before

    (row,) = records("self_play", [rollout("a")], script, num_completions=2)
    assert (row["kind"], row["reason"], row["reward"]) == ("game", "not_harmful", None)


# critic_cot --------------------------------------------------------------------------------------


def test_critiques_are_kept_by_outcome_and_refinement():
    sample = [rollout("a"), rollout("b", WRONG, 0.0), rollout("c", grade=None)]
    found = {row["rollout_id"]: (row["reason"], row["reward"]) for row in records("critic_cot", sample)}
    assert found == {"a": (None, 1.0), "b": (None, 1.0), "c": ("not_graded", None)}
    found = {row["rollout_id"]: row["reason"] for row in records("critic_cot", sample[:2], blind)}
    assert found == {"a": None, "b": "overlooked"}

    def accuse(text: str) -> str:
        return "0 wrong\nverdict 0\n" if text.startswith("<critique") else "#### 7\n"

    found = {row["rollout_id"]: row["reason"] for row in records("critic_cot", sample[:2], accuse)}
    assert found == {"a": "false_alarm", "b": "refinement_fails"}
    found = {row["reason"] for row in records("critic_cot", sample[:2], lambda text: "?")}
    assert found == {"unreadable"}


# auto_math_critique ------------------------------------------------------------------------------


def test_a_critique_is_kept_by_the_share_of_right_refinements_and_one_new_solution_per_problem():
    rows = records("auto_math_critique", [rollout("b", WRONG, 0.0)], num_refinements=3)
    critiques, solutions = only(rows, "sampled"), only(rows, "solution")
    assert [(row["reward"], row["reason"], row["num_requests"]) for row in critiques] == [(1.0, None, 4)] * 3
    assert [row["response"] for row in solutions] == ["2+3=5\n5-1=4\n#### 4\n"]

    def hopeless(text: str) -> str:
        return "#### 9\n" if text.startswith("<refine>") else say(text)

    rows = records("auto_math_critique", [rollout("b", WRONG, 0.0)], hopeless)
    assert {(row["reward"], row["reason"]) for row in rows} == {(0.0, "rarely_helps")}
    rows = records("auto_math_critique", [rollout("a")], blind)
    assert {(row["kind"], row["reward"], row["reason"]) for row in rows} == {("tampered", None, "overlooked")}
    assert records("auto_math_critique", [rollout("a")], tamper=False) == []


# teacher_correction ------------------------------------------------------------------------------


def test_the_teachers_correction_is_chosen_where_it_alone_is_right():
    def script(text: str) -> str:
        if text.startswith("<critique_a>"):
            return "0 right\n1 wrong\n2 right\nverdict 1\n"
        if text.startswith("<refine>"):
            return "2+3=6\n6-1=5\n#### 5\n" if "verdict 1" in text else say(text)
        return say(text)

    (row,) = records("teacher_correction", [rollout("b", WRONG, 0.0)], script)
    assert (row["reason"], row["agent"], row["predicted"]) == (None, "critique_c", "0")
    assert row["response"] == "0 wrong\n1 right\n2 right\nverdict 0\n2+3=5\n5-1=4\n#### 4"
    assert row["rejected"] == "0 right\n1 wrong\n2 right\nverdict 1\n2+3=6\n6-1=5\n#### 5"
    (row,) = records("teacher_correction", [rollout("b", WRONG, 0.0)])
    assert row["reason"] == "student_right_too"
    with pytest.raises(ConfigError, match="teacher `critique_a` must be an agent after the first"):
        records("teacher_correction", [rollout("b", WRONG, 0.0)], teacher="critique_a")


# tool_critique -----------------------------------------------------------------------------------


def test_the_calculator_says_what_does_not_compute():
    assert calculated(("2+3=6", "6-1=5", "#### 5")) == "0 wrong 2+3=5\n1 right\n2 right\nverdict 0\n"
    assert calculated(RIGHT) is None
    assert calculated(("so 4",)) is None


def test_refinement_follows_the_calculator_until_nothing_is_wrong():
    sample = [rollout("a"), rollout("b", WRONG, 0.0), rollout("c", ("four", "#### 4"))]
    found = {row["rollout_id"]: row for row in records("tool_critique", sample)}
    assert [found[name]["reason"] for name in "abc"] == ["no_error_found", None, "nothing_to_check"]
    assert (found["b"]["label"], found["b"]["reward"], found["b"]["num_requests"]) == ("0", 1.0, 1)

    def stubborn(text: str) -> str:
        return "2+3=7\n7-1=6\n#### 6\n"

    (row,) = records("tool_critique", sample[1:2], stubborn, max_rounds=3)
    assert (row["reason"], row["num_requests"]) == ("refinement_fails", 2)  # the second one changes nothing


# local_and_global_refinement ---------------------------------------------------------------------


def test_local_refinement_goes_on_before_the_error_and_the_outcome_critic_chooses():
    wrong_late = ("2+3=5", "5-1=3", "#### 3")
    rows = records("local_and_global_refinement", [rollout("b", wrong_late, 0.0)])
    found = {row["kind"]: row for row in rows}
    assert found["local"]["response"] == "2+3=5\n5-1=4\n#### 4" and found["local"]["step"] == 1
    assert found["global"]["reward"] == 1.0
    assert (found["chosen"]["predicted"], found["chosen"]["label"], found["chosen"]["reward"]) == (
        "local",
        "local",
        1.0,
    )


def test_a_draft_without_an_error_is_chosen_as_it_is():
    (row,) = records("local_and_global_refinement", [rollout("b", WRONG, 0.0)], blind)
    assert (row["predicted"], row["reward"], row["reason"]) == ("draft", 0.0, "no_error_found")
    (row,) = records("local_and_global_refinement", [rollout("b", WRONG, 0.0)], lambda text: "?")
    assert (row["predicted"], row["reason"]) == (None, "unreadable")


def test_the_outcome_score_is_the_weighted_share_without_an_error():
    reply = Reply("id", "", 1, False, None, 1)
    said = [
        Said(AgentConfig(name="a", weight=2.0), reply, Judgement(("right",), -1)),
        Said(AgentConfig(name="b"), reply, Judgement(("wrong",), 0)),
        Said(AgentConfig(name="c"), reply, Failure("empty")),
    ]
    assert share_without_error(said) == pytest.approx(2 / 3)
    assert share_without_error(said[2:]) is None


# unary_feedback ----------------------------------------------------------------------------------


def test_the_reward_of_an_episode_halves_with_every_turn_and_repeats_cost():
    """Right at the third turn: 1/4; answers 5, 5, 4: two of three are distinct: 1/4 - 1/2 * 1/3."""
    assert episode_reward(["5", "5", "4"], [0.0, 0.0, 1.0], 0.5) == pytest.approx(0.25 - 0.5 / 3)
    assert episode_reward(["4"], [1.0], 0.5) == 1.0
    assert episode_reward(["A b", "a  B"], [0.0, 0.0], 0.5) == -0.25
    assert episode_reward([None, " "], [0.0, 0.0], 0.5) is None


def test_an_episode_ends_with_the_first_right_attempt_and_masks_the_wrong_ones():
    sample = [rollout("a", WRONG, 0.0), rollout("b", WRONG, 0.0), rollout("c")]
    (row,) = records("unary_feedback", sample)
    turns = list(zip(row["roles"], row["contents"], row["is_learned"], strict=True))
    answers = [turn for turn in turns if turn[0] == "assistant"]
    assert answers[-1] == ("assistant", "2+3=5\n5-1=4\n#### 4\n", True)
    assert all(not is_learned for _, _, is_learned in answers[:-1])
    assert len(turns) == 2 * len(answers) and turns[0] == ("user", "<solve>2+3-1\n", False)
    wrong = len(answers) - 1
    assert row["reward"] == pytest.approx(0.5**wrong - 0.5 * (1 - min(2, wrong + 1) / (wrong + 1)))
    assert row["num_requests"] == 0


def test_episodes_that_never_end_right_or_are_not_graded_say_so():
    (row,) = records("unary_feedback", [rollout("a", WRONG, 0.0), rollout("b", WRONG, 0.0)], max_turns=2)
    assert (row["reason"], row["reward"], any(row["is_learned"])) == ("never_right", -0.25, False)
    (row,) = records("unary_feedback", [rollout("a", WRONG, None)])
    assert (row["reason"], row["reward"]) == ("not_graded", None)


# self_correction_turns ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "of_right", "of_wrong", "learned"),
    [
        ("score", (1.0, None), (1.5, None), [False, True, False, True]),
        ("rise", (0.0, "not_improved"), (1.0, None), [False, False, False, True]),
        ("self", (1.0, "not_improved"), (1.0, None), [False, False, False, True, False, True]),
        ("spoc", (1.0, None), (1.0, None), [False, True]),
    ],
)
def test_every_shape_of_two_turns_with_its_reward_and_mask(shape, of_right, of_wrong, learned):
    """Wrong, then right; with alpha = 1/2 the reward of SCoRe is 1 + (1 - 0)/2."""
    rows = records("self_correction_turns", [rollout("a"), rollout("b", WRONG, 0.0)], shape=shape, alpha=0.5)
    found = {row["rollout_id"]: row for row in rows}
    assert [(found[name]["reward"], found[name]["reason"]) for name in "ab"] == [of_right, of_wrong]
    assert found["b"]["is_learned"] == learned


def test_spoc_is_one_message_that_ends_after_a_verdict_of_right():
    rows = records("self_correction_turns", [rollout("a"), rollout("b", WRONG, 0.0)], shape="spoc")
    found = {row["rollout_id"]: row["contents"][1] for row in rows}
    assert found["a"] == "2+3=5\n5-1=4\n#### 4\n" + computing_critic(RIGHT)
    assert found["b"] == "2+3=6\n6-1=5\n#### 5\n" + computing_critic(WRONG) + "2+3=5\n5-1=4\n#### 4\n"
    (row,) = records("self_correction_turns", [rollout("b", WRONG, 0.0)], blind, shape="spoc")
    assert (row["reason"], row["reward"]) == ("wrong_verdict", 0.0)


def test_what_cannot_be_read_or_graded_has_no_episode():
    (row,) = records("self_correction_turns", [rollout("a")], lambda text: "")
    assert (row["reason"], row["error"], row["roles"]) == ("unreadable", "unreadable: empty", None)
    (row,) = records("self_correction_turns", [rollout("a", grade=None)])
    assert (row["reason"], row["reward"]) == ("not_graded", None)


# critique_post_edit ------------------------------------------------------------------------------


def test_an_edit_that_helps_is_chosen_over_the_original():
    rows = records("critique_post_edit", [rollout("a"), rollout("b", WRONG, 0.0)])
    found = {row["rollout_id"]: row for row in rows}
    assert [(found[name]["reason"], found[name]["reward"]) for name in "ab"] == [("not_edited", 1.0), (None, 1.0)]
    assert (found["b"]["response"], found["b"]["rejected"]) == ("2+3=5\n5-1=4\n#### 4\n", "2+3=6\n6-1=5\n#### 5\n")

    def ruin(text: str) -> str:
        return "#### 9\n" if text.startswith("<refine>") else say(text)

    rows = records("critique_post_edit", [rollout("a"), rollout("b", WRONG, 0.0)], ruin, min_gain=1)
    assert [row["reason"] for row in sorted(rows, key=lambda row: row["rollout_id"])] == ["got_worse", "no_gain"]


# magicore ----------------------------------------------------------------------------------------


def scored(answer: str | None, outcome: float, *steps: float) -> Scored:
    return Scored(RIGHT, answer, None, outcome, steps)


def test_confidence_falls_with_the_entropy_of_the_votes():
    """One answer: H = 0, 2 (1 - 1/2) = 1. Two equal ones: H = ln 2, sigmoid = 2/3, 2/3. Four: ln 4, 4/5, 2/5."""
    assert confidence(["4"], [0.3]) == 1.0
    assert confidence(["4", "5"], [0.5, 0.5]) == pytest.approx(2 / 3)
    assert confidence(["1", "2", "3", "4"], [1.0] * 4) == pytest.approx(2 / 5)
    assert confidence(["1", "2"], [0.0, 0.0]) == pytest.approx(2 / 3)


def test_a_problem_is_hard_only_where_both_conditions_fail():
    four = [scored(answer, 0.25, 1.0) for answer in "1234"]
    assert is_hard(four, 2.0, 0.5)  # z = (1.25 - 2) / 0.5 < 0, confidences 2/5
    assert not is_hard(four, 1.0, 0.5)  # z > 0
    assert not is_hard([scored("4", 0.25, 1.0)] * 4, 2.0, 0.5)  # all agree
    assert not is_hard(four, 1.25, 0.0)  # no spread: z = 0
    assert is_hard([scored(None, 1.0)], 0.0, 1.0)


def test_the_vote_is_weighted_by_both_scores_and_low_steps_are_reviewed():
    samples = [scored("5", 0.2, 0.5), scored("5", 0.2, 0.5), scored("4", 1.0, 0.9, 0.5)]
    assert voted(samples).answer == "4"  # 1.45 against 1.4
    assert voted([scored(None, 1.0)]) is None
    assert review(samples[2], 6) == "0 right\n1 wrong (Score: 5/10)\nverdict 1\n"
    assert review(samples[2], 6, has_words=False) == "0 right\n1 wrong\nverdict 1\n"
    assert review(samples[2], 5) == "0 right\n1 right\nverdict -1\n"


def test_hard_problems_are_refined_and_easy_ones_left():
    wrong = [("2+3=6", "6-1=5", "#### 5"), ("2+3=7", "7-1=6", "#### 6"), ("2+3=8", "8-1=7", "#### 7"),
             ("2+3=9", "9-1=8", "#### 8")]  # fmt: skip
    easy = [rollout(f"e{i}") for i in range(2)]
    (row,) = records("magicore", easy)
    assert (row["kind"], row["predicted"], row["reward"], row["reason"]) == ("easy", "4", 1.0, None)

    hard = [rollout(f"h{i}", steps, 0.0) for i, steps in enumerate(wrong)]
    rows = records("magicore", hard)
    assert [row["kind"] for row in rows] == ["easy"]  # one problem alone has no spread, so it is not hard
    assert all(equation_holds(steps[0]) is False for steps in wrong)
    (row,) = records("magicore", hard[:1], lambda text: "?")
    assert row["reason"] == "unreadable"

    other = [one | {"problem_id": "p2", "group_id": "g2"} for one in easy]
    rows = records("magicore", [*hard, *other])
    # First samples: 0 (all agents find the error) and 2, so mu = 1, sd = 1. Of p1 z = -1 and four answers with equal
    # weights, confidence 2/5: hard. After one round its refinements (reward 2) are the best four and agree.
    found = {(row["kind"], row["problem_id"]): row for row in rows}
    assert set(found) == {("hard", "p1"), ("refinement", "p1"), ("easy", "p2")}
    assert len(only(rows, "refinement")) == 4
    assert (found["hard", "p1"]["predicted"], found["hard", "p1"]["reward"]) == ("4", 1.0)
    assert found["hard", "p1"]["rejected"] == "2+3=6\n6-1=5\n#### 5\n"


@pytest.mark.parametrize("method", ["tampered_solutions", "typed_corruptions", "self_play", "critic_cot",
                                    "auto_math_critique", "teacher_correction", "tool_critique", "magicore",
                                    "local_and_global_refinement", "unary_feedback", "self_correction_turns",
                                    "critique_post_edit"])  # fmt: skip
def test_without_samples_there_are_no_records_and_a_wrong_parameter_is_named(method):
    assert records(method, []) == []
    with pytest.raises(ConfigError, match=f"critiques.methods: the parameter nonsense of {method}"):
        records(method, [], nonsense=1)


# reflection_splice -------------------------------------------------------------------------------


def test_a_wrong_path_is_cut_where_its_actor_stops_believing_it_and_led_back():
    """The right sample b shares no step with the wrong prefix, c shares one and is taken."""
    wrong = ("2+3=5", "5-1=3", "#### 3")
    other = ("3+2=5", "5-1=4", "#### 4")
    (row,) = records(
        "reflection_splice", [rollout("a", wrong, 0.0), rollout("b", other), rollout("c")], thoughts=["hm"]
    )
    assert list(zip(row["contents"], row["is_learned"], strict=True)) == [
        ("<solve>2+3-1\n", False), ("2+3=5\n5-1=3\n", False), ("hm\n", True), ("5-1=4\n#### 4\n", True),
    ]  # fmt: skip
    assert (row["step"], row["predicted"], row["reward"], row["reason"]) == (1, "1", 1.0, None)
    (row,) = records("reflection_splice", [rollout("a", wrong, 0.0)])
    assert row["reason"] == "no_right_sample"
    (row,) = records("reflection_splice", [rollout("a", wrong, 0.0), rollout("c")], blind, thoughts=["hm"])
    assert row["contents"][1] == "2+3=5\n5-1=3\n#### 3\n"  # nothing is seen to be wrong: the whole path
    (row,) = records("reflection_splice", [rollout("a", wrong, 0.0)], lambda text: "?")
    assert row["reason"] == "unreadable"


def test_guidance_is_in_the_text_and_not_in_the_loss():
    wrong = ("2+3=5", "5-1=3", "#### 3")
    (row,) = records("reflection_splice", [rollout("a", wrong, 0.0)], shape="guidance")
    assert list(zip(row["contents"][1:], row["is_learned"][1:], strict=True)) == [
        ("2+3=5\n", True), ("0 right\n1 wrong\n2 right\nverdict 1\n", False), ("5-1=4\n#### 4\n", True),
    ]  # fmt: skip
    assert (row["reward"], row["reason"]) == (1.0, None)
    (row,) = records("reflection_splice", [rollout("a", wrong, 0.0)], blind, shape="guidance")
    assert row["reason"] == "no_error_found"
