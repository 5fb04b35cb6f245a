"""Rows for critics and judges in the training sets, from tables small enough to work out by hand."""

import pytest

from pipelines.agents.training_rows import Asking, CritiqueTables, with_critique_rows
from pipelines.config import AgentConfig, TrainingSetsConfig
from pipelines.errors import ConfigError
from pipelines.reasoning.prompts import load_prompts
from pipelines.rows import rows_to_table
from pipelines.tables import SCHEMAS, TRAINING_SETS

NIGHT = "2026-11-03"
AGENTS = (AgentConfig(name="critique_a"), AgentConfig(name="critique_b"))
PROBLEMS = [
    {"problem_id": "p", "prompt": "1+2*3", "reference_answer": "9", "split": "train"},
    {"problem_id": "h", "prompt": "5+5", "reference_answer": "10", "split": "held_out"},
]
ROLLOUTS = [
    {"rollout_id": "good", "problem_id": "p", "steps": ["1+2=3", "#### 9"], "outcome_reward": 1.0, "group_id": "g"},
    {"rollout_id": "bad", "problem_id": "p", "steps": ["1+2=4", "#### 12"], "outcome_reward": 0.0, "group_id": "g"},
    {"rollout_id": "held", "problem_id": "h", "steps": ["#### 10"], "outcome_reward": 1.0, "group_id": "k"},
]
BAD_PROMPT = "<critique_a>1+2*3\n1+2=4\n#### 12\n<review>\n"
CRUCIAL = '{"task": "1+2*3", "criteria": [], "reference": "9"}'


def critique(name: str, rollout: str, verdict: str | None, text: str, agent: str = "critique_a", **more) -> dict:
    return {"critique_id": name, "rollout_id": rollout, "problem_id": "h" if rollout == "held" else "p",
            "agent": agent, "verdict": verdict, "text": text, **more}  # fmt: skip


def verdict(name: str, rollout: str, said: str, text: str) -> dict:
    made = critique(name, rollout, said, text) | {"crucial_information": CRUCIAL}
    del made["agent"]
    return made


def record(name: str, **more) -> dict:
    return {"record_id": name, "method": "critic_cot", "problem_id": "p", "rollout_id": "bad", "prompt": "ask",
            "response": f"said {name}", "kept": True, **more}  # fmt: skip


def pair(kind: str, chosen: str, rejected: str, **more) -> dict:
    return {"pair_id": f"{chosen}{rejected}", "problem_id": "p", "kind": kind, "method": "marv_critique_pairs",
            "prompt": "1+2*3\n", "chosen": chosen, "rejected": rejected, "chosen_id": chosen, "rejected_id": rejected,
            **more}  # fmt: skip


def build(style: str = "starter", chat_text=None, prompts: int = 0, **given):
    """(rows of each set, counts); keywords that are tables are their rows, the others the configuration."""
    tables = {name: given.pop(name) for name in list(given) if name in SCHEMAS}
    tables = {"problems": PROBLEMS, "rollouts": ROLLOUTS, **tables}
    empty = {name: SCHEMAS[name].empty_table() for name in TRAINING_SETS}
    own = [{"prompt": f"q{i}", "reference_answer": "1", "problem_id": f"q{i}"} for i in range(prompts)]
    sets, counts = with_critique_rows(
        empty | {"prompts": rows_to_table("prompts", own)},
        CritiqueTables(**{name: rows_to_table(name, tables.get(name, [])) for name in CritiqueTables.__annotations__}),
        Asking(load_prompts(style), AGENTS, chat_text), TrainingSetsConfig(**given), NIGHT,
    )  # fmt: skip
    assert all(table.schema == SCHEMAS[name] for name, table in sets.items())
    return {name: table.to_pylist() for name, table in sets.items()}, counts


SAID = {
    "critiques": [
        critique("c1", "bad", "wrong", "0 wrong\n1 right\nverdict 0\n"),
        critique("c2", "bad", "right", "0 right\n1 right\nverdict -1\n", agent="critique_b"),
        critique("c3", "good", "right", "0 right\n1 right\nverdict -1\n", agent="critique_b"),
        critique("c4", "good", None, "hm", error="unreadable: no_verdict"),
        critique("c5", "held", "right", "0 right\nverdict -1\n"),
    ],
    "verdicts": [verdict("f1", "bad", "wrong", "0 wrong 1+2=3\n1 right\nverdict 0\n"),
                 verdict("f2", "good", "wrong", "0 wrong\n1 right\nverdict 0\n")],
}  # fmt: skip


def test_nothing_is_added_unless_it_is_configured():
    sets, counts = build(prompts=3, critique_records=[record("r")], **SAID)
    assert (sets["sft"], sets["preference"], len(sets["prompts"]), counts) == ([], [], 3, {})


def test_final_critiques_whose_verdict_is_the_grade_are_imitated_behind_the_critics_own_prompt():
    sets, counts = build(critique_sft=("final_critiques",), **SAID)
    assert sets["sft"] == [
        {"prompt": BAD_PROMPT, "completion": "0 wrong 1+2=3\n1 right\nverdict 0\n", "problem_id": "p",
         "rollout_id": "bad", "origin": "final_critiques", "night": NIGHT}
    ]  # fmt: skip
    assert counts["sft"] == {"num_critiques": 1, "num_final_critiques_wrong_verdict": 1}


def test_agents_rationales_are_balanced_and_asked_for_as_each_agent_is():
    sets, counts = build(critique_sft=("kept_rationales",), **SAID)
    asked = {(row["prompt"].split(">")[0], row["rollout_id"]) for row in sets["sft"]}
    assert asked == {("<critique_a", "bad"), ("<critique_b", "good")}
    assert counts["sft"] == {"num_critiques": 2, "num_kept_rationales_wrong_verdict": 1}
    alone, counts = build(critique_sft=("kept_rationales",), critiques=SAID["critiques"][:2])
    assert [row["rollout_id"] for row in alone["sft"]] == ["bad"]  # there is but one label, nothing to balance with


def test_critiques_that_lead_to_right_refinements_only():
    refinements = [
        {"refinement_id": f"{name}{i}", "critique_id": name, "outcome_reward": grade}
        for name, grades in {"c1": (1.0, 1.0), "f1": (1.0, 0.0)}.items()
        for i, grade in enumerate(grades)
    ]
    made = SAID | {"rollouts": ROLLOUTS[1:2], "critiques": SAID["critiques"][:2], "verdicts": SAID["verdicts"][:1]}
    sets, counts = build(critique_sft=("passing_critiques",), refinements=refinements, **made)
    assert [row["completion"] for row in sets["sft"]] == ["0 wrong\n1 right\nverdict 0\n"]
    assert counts["sft"] == {
        "num_critiques": 1, "num_passing_critiques_no_refinement": 1, "num_passing_critiques_refinement_fails": 1,
    }  # fmt: skip


def test_records_are_imitated_where_they_are_kept_and_did_not_lose():
    records = [
        record("won", reward=1.0), record("plain"), record("lost", reward=-1.0), record("not_kept", kept=False),
        record("failed", error="x"), record("silent", response=" "), record("held", problem_id="h"),
        record("episode", roles=["user"]), record("pair", rejected="worse"),
    ]  # fmt: skip
    sets, _ = build(critique_sft=("critique_records",), critique_records=records, max_critiques_per_problem=9)
    assert {row["completion"] for row in sets["sft"]} == {"said won", "said plain"}
    assert {row["origin"] for row in sets["sft"]} == {"critic_cot"}
    few, _ = build(critique_sft=("critique_records",), critique_records=records, max_critiques_per_problem=1)
    assert len(few["sft"]) == 1
    chat, _ = build(
        chat_text=lambda text: f"[{text}]", critique_sft=("critique_records",), critique_records=records[:1]
    )
    assert chat["sft"][0]["prompt"] == "[ask]"


def test_pairs_come_from_refinements_from_the_grade_and_from_other_methods():
    marv = pair("critique", "c1", "c2", chosen_score=1.0, rejected_score=0.5)
    pairs = [marv, pair("step", "a", "b")]
    found = {"preference_pairs": pairs, "critique_records": [record("r", rejected="worse")], **SAID}
    sets, counts = build(critique_preference=("marv_pairs",), **found)
    assert [(row["prompt"], row["chosen"], row["margin"], row["pair_id"]) for row in sets["preference"]] == [
        (BAD_PROMPT, "0 wrong\n1 right\nverdict 0\n", 0.5, marv["pair_id"])
    ]
    sets, counts = build(critique_preference=("judgment_pairs", "critique_records"), **found)
    assert [(row["chosen"], row["rejected"], row["margin"]) for row in sets["preference"]] == [
        ("0 wrong\n1 right\nverdict 0\n", "0 right\n1 right\nverdict -1\n", 1.0), ("said r", "worse", None)
    ]  # fmt: skip
    assert counts["preference"] == {"num_critiques": 2}


def test_a_pair_found_both_ways_round_is_dropped_and_equal_sides_are_none():
    records = [record("r", response="x", rejected="y"), record("s", response="y", rejected="x"),
               record("t", response="z", rejected="z"), record("u", response="x", rejected="z")]  # fmt: skip
    sets, _ = build(critique_preference=("critique_records",), critique_records=records)
    assert [(row["chosen"], row["rejected"]) for row in sets["preference"]] == [("x", "z")]


def test_judge_rows_are_a_set_share_of_the_prompts():
    sets, counts = build("plain", prompts=6, judge_share=0.25, critique_records=[])
    # good and bad: two pointwise questions and one pair; floor(.25 * 6 / .75) = 2 of the three stay
    assert [row["problem_id"] for row in sets["prompts"][:6]] == [f"q{i}" for i in range(6)]
    judged = sets["prompts"][6:]
    assert len(judged) == 2 and counts["prompts"] == {"num_judge_rows": 2, "num_judge_rows_over_share": 1}
    assert {row["problem_id"] for row in judged} == {"p"}  # nothing of the held-out problem
    all_of_them, _ = build("plain", prompts=6, judge_share=0.9)
    labels = {(row["family"], row["reference_answer"]) for row in all_of_them["prompts"][6:]}
    assert {("judge_pointwise", "right"), ("judge_pointwise", "wrong")} < labels
    assert {family for family, _ in labels} == {"judge_pointwise", "judge_pairwise"}
    text = next(row["prompt"] for row in all_of_them["prompts"] if row["reference_answer"] == "wrong")
    assert "1+2*3" in text and "1+2=4\n#### 12" in text and "9" not in text.replace("#### 9", "")


def test_preference_pairs_are_questions_with_an_answer():
    sets, _ = build(
        "plain", prompts=9, judge_share=0.5, judge_prompts_from=("preference_prompts",),
        preference_pairs=[pair("step", "good step", "bad step"), pair("critique", "c1", "c2"),
                          pair("step", "same", "same"), pair("step", "x", "y", problem_id="h")],
    )  # fmt: skip
    (row,) = sets["prompts"][9:]
    first = row["prompt"].index("good step") < row["prompt"].index("bad step")
    assert (row["family"], row["reference_answer"]) == ("judge_preference", "first" if first else "second")


def test_a_style_without_words_cannot_ask_a_judge():
    with pytest.raises(ConfigError, match="prompt style `starter` has no template agents/judge_pair.txt"):
        build(prompts=3, judge_share=0.5)


def test_empty_tables_add_nothing():
    sets, counts = build(
        "plain", critique_sft=("final_critiques", "kept_rationales", "passing_critiques", "critique_records"),
        critique_preference=("marv_pairs", "judgment_pairs", "critique_records"), judge_share=0.5,
        judge_prompts_from=("recycled_rollouts", "preference_prompts"), problems=[], rollouts=[],
    )  # fmt: skip
    assert all(rows == [] for rows in sets.values())
    assert sum(sum(one.values()) for one in counts.values()) == 0
