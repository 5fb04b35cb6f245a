"""Methods of agents whose roles need a model of words, on replies written by hand."""

import random
from functools import partial

import pytest
from agent_worlds import RIGHT, WRONG, records, rollout

from pipelines.agents.checklist import items_of, yes_or_no
from pipelines.agents.principles import ranks_rightly, scores_of
from pipelines.agents.scored_critique import score_of
from pipelines.agents.table_critic import grow, judged, leaf_at, new_tree, outline, path_of, shown_templates, split
from pipelines.errors import ConfigError

ONE_AGENT = {"agents": [{"name": "only"}]}
ask = partial(records, style="plain", config=ONE_AGENT)
RIGHT_TEXT = "\n".join((*RIGHT, ""))
PAIR = [rollout("a"), rollout("b", WRONG, 0.0)]

CONTRASTIVE = "It adds first.\n0 wrong 2+3 is 5 -> 2+3=5\n1 wrong\n2 wrong\nverdict 0\nCorrected solution:\n"


# contrastive_self_critique -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "reason", "reward", "predicted"),
    [
        (CONTRASTIVE + RIGHT_TEXT, None, 1.0, "0"),
        (CONTRASTIVE + "#### 9\n", "correction_fails", 0.0, "0"),
        (CONTRASTIVE.partition("Corrected")[0], "no_correction", None, "0"),
        ("As the reference says:\n" + CONTRASTIVE + RIGHT_TEXT, "mentions_reference", 1.0, "0"),
        ("Corrected solution:\n" + RIGHT_TEXT, "unreadable", 1.0, None),
    ],
)
def test_a_contrastive_critique_is_kept_where_its_correction_is_right(reply, reason, reward, predicted):
    (row,) = ask("contrastive_self_critique", PAIR[1:], lambda text: reply)
    assert (row["reason"], row["reward"], row["predicted"]) == (reason, reward, predicted)
    assert "Right solution" not in row["prompt"]


def test_the_reference_is_another_right_sample_or_the_reference_answer():
    seen = []
    ask("contrastive_self_critique", PAIR, lambda text: seen.append(text) or "")
    references = {text.split("Right solution:\n")[1].split("\n\nSolution:")[0] for text in seen}
    assert references == {"4", "2+3=5\n5-1=4\n#### 4"}  # of the only right sample the answer, of the other that sample


# deep_critic -------------------------------------------------------------------------------------


def deep(first: str, second: str):
    """Continuations from nothing are right, from a wrong first step wrong."""

    def script(text: str) -> str:
        if text.startswith("Review the solution"):
            return first
        if text.startswith("A solution of a problem was reviewed. Check"):
            return second
        return "6-1=5\n#### 5\n" if "2+3=6" in text else RIGHT_TEXT

    return script


def test_a_deep_critique_is_kept_where_its_first_error_is_the_label():
    """The first step is wrong: from nothing all continuations are right, after it none."""
    missed, found = "verdict -1", "0 wrong\nverdict 0"
    (row,) = ask("deep_critic", PAIR[1:], deep(missed, found), num_completions=2)
    assert (row["label"], row["predicted"], row["reward"], row["reason"]) == ("0", "0", 1.0, None)
    assert row["response"] == "verdict -1\n0 wrong\nverdict 0\n**Answer**: \\boxed{0}\n"
    assert row["rejected"] == "verdict -1"  # the critique that was revised
    assert row["num_requests"] == 2 + 3 * 2
    (row,) = ask("deep_critic", PAIR[1:], deep(found, missed), num_completions=2)
    assert (row["predicted"], row["reason"]) == ("-1", "wrong_first_error")
    (row,) = ask("deep_critic", PAIR[1:], deep(found, "hm"), num_completions=2)
    assert (row["reason"], row["error"], row["reward"]) == ("unreadable", "unreadable: no_judgement", None)


def test_a_wrong_sample_that_no_continuation_tells_apart_has_no_label():
    def script(text: str) -> str:
        return "verdict 0" if "review" in text.lower()[:60] else "#### 9\n"

    (row,) = ask("deep_critic", PAIR[1:], script, num_completions=2)
    assert (row["label"], row["reason"], row["reward"]) == (None, "no_label", None)


def test_right_samples_with_unrevised_critiques_are_limited():
    samples = [rollout(name) for name in "abc"]
    rows = ask("deep_critic", samples, deep("verdict -1", "verdict -1"), max_unrevised=1)
    assert [row["reason"] for row in rows] == [None, "unrevised_right", "unrevised_right"]


# checklist ---------------------------------------------------------------------------------------


def test_the_items_of_a_list_are_read_once_each():
    assert items_of("Here:\n- a sum\n2) a difference\n* a sum\nnothing", 5) == ["a sum", "a difference"]
    assert items_of("- a\n- b", 1) == ["a"]
    assert [yes_or_no(text) for text in ("Yes.", "**no**", "yesterday", "")] == [True, False, None, None]


def test_a_checklist_predicts_right_where_every_item_is_met():
    def script(text: str) -> str:
        if text.startswith("Write a checklist"):
            return "- the sum is right\n- the answer is 4\n"
        return "no" if "2+3=6" in text and "fulfil this: the sum" in text else "yes"

    rows = {row["rollout_id"]: row for row in ask("checklist", PAIR, script)}
    assert [(rows[name]["predicted"], rows[name]["reward"], rows[name]["reason"]) for name in "ab"] == [
        ("right", 1.0, None), ("wrong", 0.5, None),
    ]  # fmt: skip
    assert rows["b"]["response"] == "the sum is right: no\nthe answer is 4: yes"
    assert sum(row["num_requests"] for row in rows.values()) == 1 + 2 * 2  # the list is asked for once
    assert {row["reason"] for row in ask("checklist", PAIR, lambda text: "none")} == {"no_items"}
    unread = ask("checklist", PAIR, lambda text: "- one" if text.startswith("Write") else "perhaps")
    assert {(row["reason"], row["reward"]) for row in unread} == {("unreadable", None)}


# principles --------------------------------------------------------------------------------------


def test_the_last_line_of_scores_counts():
    assert scores_of("Scores: 1, 2\nwell\nScores: 9, 3\n", 2) == (9.0, 3.0)
    assert scores_of("**Scores:** 9; 3.5", 2) == (9.0, 3.5)
    for text in ("", "Scores: 9", "Scores: 11, 3", "Scores: nine, three", "9, 3"):
        assert scores_of(text, 2) is None
    assert scores_of("Scores: " + "1" * 1500 + "x", 2) is None  # at once: nothing backtracks for ever
    assert ranks_rightly((9, 3), (True, False)) and not ranks_rightly((3, 3), (True, False))


def test_the_best_rated_votes_are_added_up():
    """Votes by number: 9 for the right one; 2 for it; unreadable. Meta scores 5, 1, 5; the two best read ones are
    added: right 9 + 2 = 11, wrong 1 + 8 = 9.
    """
    numbers = iter(range(3))

    def script(text: str) -> str:
        if text.startswith("Judge 2 answers"):
            first_is_right = text.index("2+3=5") < text.index("2+3=6")
            mine, other = [(9, 1), (2, 8), (0, 0)][next(numbers)]
            return f"Scores: {mine}, {other}" if first_is_right else f"Scores: {other}, {mine}"
        return "1" if "2, 8" in text or "8, 2" in text else "5"

    rows = ask("principles", PAIR, script, num_votes=3)
    votes, (voted,) = rows[:3], rows[3:]
    assert [(row["reward"], row["reason"]) for row in votes] == [
        (1.0, None), (-1.0, "wrong_ranking"), (None, "unreadable"),
    ]  # fmt: skip
    assert (voted["rollout_id"], voted["reward"], voted["reason"]) == ("a", 1.0, None)
    assert voted["predicted"] == voted["label"]


def test_a_problem_with_one_kind_of_samples_is_not_judged():
    (row,) = ask("principles", [rollout("a")], lambda text: "Scores: 1, 2")
    assert (row["reason"], row["num_requests"]) == ("one_sided", 0)
    rows = ask("principles", PAIR, lambda text: "hm", num_votes=1)
    assert [row["reason"] for row in rows] == ["unreadable", "unreadable"]


# scored_critique ---------------------------------------------------------------------------------


def test_the_score_at_the_end_is_read():
    assert [score_of(text) for text in ("Score: 7", "so **Score: 10/10**", "Score: 0", "Score: 12", "7", "")] == [
        7, 10, None, None, None, None,
    ]  # fmt: skip


def test_a_scored_critique_is_kept_where_its_side_is_the_grade():
    def script(text: str) -> str:
        return "bad\nScore: 1" if "2+3=6" in text else "good\nScore: 10"

    rows = {row["rollout_id"]: row for row in ask("scored_critique", PAIR, script, with_reference=True)}
    assert [(rows[name]["predicted"], rows[name]["reward"], rows[name]["reason"]) for name in "ab"] == [
        ("right", 1.0, None), ("wrong", 0.0, None),
    ]  # fmt: skip
    assert "The right answer is" not in rows["a"]["prompt"]
    found = {row["reason"] for row in ask("scored_critique", PAIR, lambda text: "Score: 9")}
    assert found == {None, "disagrees"}
    (row,) = ask("scored_critique", PAIR[:1], lambda text: "fine")
    assert (row["reason"], row["error"], row["reward"]) == ("unreadable", "unreadable: no_score", None)


# table_critic ------------------------------------------------------------------------------------


def test_a_path_is_read_without_its_end_and_random_is_none():
    assert path_of("(Calculation error -> row error -> <END>)") == ("calculation error", "row error")
    assert path_of("(random)") == () == path_of("")


def test_templates_come_from_the_leaf_or_from_all_leaves():
    tree = new_tree()
    grow(tree, ("calculation error",), "one")
    grow(tree, ("reasoning error",), "two")
    rng = random.Random(0)
    assert shown_templates(tree, ("calculation error",), 5, rng) == ["one"]
    assert sorted(shown_templates(tree, ("unknown",), 5, rng)) == ["one", "two"]
    assert len(shown_templates(tree, (), 1, rng)) == 1


def test_a_leaf_splits_and_a_branch_grows_at_the_first_missing_name():
    tree = new_tree()
    grow(tree, ("calculation error",), "one")
    split(leaf_at(tree, ("calculation error",)), "two", "carries", "signs")
    assert outline(tree) == "calculation error\n  carries\n  signs\nreasoning error"
    assert leaf_at(tree, ("calculation error", "signs")).templates == ["two"]
    assert leaf_at(tree, ("calculation error",)) is None
    grow(tree, ("reading error", "units"), "three")
    assert leaf_at(tree, ("reading error", "units")).templates == ["three"]
    grow(tree, ("calculation error",), "four")  # it has kinds below it
    assert leaf_at(tree, ("calculation error", "other")).templates == ["four"]


def table(text: str) -> str:
    """A judge that knows the answer, a critic that finds the first step, a policy that then goes on rightly."""
    if text.startswith("Is this the right answer"):
        return "[Correct]" if "Answer: 4\n" in text else "[Incorrect]"
    if text.startswith("Find the first wrong step"):
        return "calculation error -> <END>"
    if text.startswith("Go through a solution"):
        is_first = "Examples:\nnone" in text
        return f"2+3 is 5.\n[Incorrect] Step 0 {'' if is_first else 'again'}"
    if text.startswith("A critique led"):
        return "Names: small sums, other sums"
    return RIGHT_TEXT


def test_a_wrong_sample_becomes_right_and_its_critique_a_template():
    rows = {row["rollout_id"]: row for row in ask("table_critic", [*PAIR, rollout("c", WRONG, 0.0)], table)}
    assert (rows["a"]["reason"], rows["a"]["num_requests"]) == ("judged_right", 1)
    assert {(rows[name]["reason"], rows[name]["reward"], rows[name]["step"]) for name in "bc"} == {(None, 1.0, 0)}
    second = next(row for name, row in rows.items() if name != "a" and "again" in row["response"])
    assert "2+3 is 5." in second["prompt"].split("Problem:")[0]  # the first one's critique was shown as an example
    assert second["num_requests"] == 6  # judge, router, critic, refiner, judge, curator


def test_without_a_step_the_answer_stays_and_an_unreadable_judge_ends_the_rounds():
    def lost(text: str) -> str:
        return "[Incorrect] Step 9" if text.startswith("Go through") else table(text)

    (row,) = ask("table_critic", PAIR[1:], lost)
    assert (row["reason"], row["reward"]) == ("no_step", 0.0)
    (row,) = ask("table_critic", PAIR[1:], lambda text: "hm")
    assert row["reason"] == "unreadable"
    assert [judged(text) for text in ("[Correct]", "so: [Incorrect]", "correct")] == [True, False, None]

    def hopeless(text: str) -> str:
        return "#### 9\n" if text.startswith("A solution of a problem was reviewed") else table(text)

    (row,) = ask("table_critic", PAIR[1:], hopeless, max_refinements=2)
    assert (row["reason"], row["reward"]) == ("still_wrong", 0.0)


@pytest.mark.parametrize(
    "method",
    ["contrastive_self_critique", "deep_critic", "checklist", "principles", "scored_critique", "table_critic"],
)
def test_a_style_without_the_roles_is_refused_and_without_samples_there_are_no_records(method):
    with pytest.raises(ConfigError, match="`starter` has no template agents/"):
        records(method, [rollout("a")])
    assert ask(method, []) == []
