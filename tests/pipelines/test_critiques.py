"""Agents, verdicts and refinements over a scripted model that writes the starter's formats."""

import asyncio
import random

import pytest
from reasoning_worlds import GRADING, NIGHT, ScriptedSession, make_problem

from pipelines.agents.units import critique_regex
from pipelines.config import AgentConfig, CritiquesConfig
from pipelines.critiques import criticise, select_groups, select_rollouts
from pipelines.errors import ConfigError, ErrorRateError
from pipelines.inference.errors import ServerError
from pipelines.preference.critiques import CritiquePairParams
from pipelines.preference.methods import MINERS
from pipelines.reasoning.prompts import load_prompts
from pipelines.rows import rows_to_table
from pipelines.tables import SCHEMAS
from pipelines.warehouse import Warehouse

PROBLEMS = rows_to_table("problems", [make_problem()])


def make_rollout(rollout_id: str, *steps: str, **changes):
    return {"rollout_id": rollout_id, "problem_id": "p1", "group_id": "g", "steps": list(steps)} | changes


RIGHT = make_rollout("r", "2+3=5", "#### 5")
WRONG = make_rollout("w", "2+3=6", "#### 6")


def model(**agents: str):
    """A writer that answers each agent's critique prompt with its text, and every refine prompt with a solution."""

    def write(text: str, rng: random.Random) -> str:
        if text.startswith("<refine>"):
            return "2+3=5\n#### 5\n"
        return next(said for agent, said in agents.items() if text.startswith(f"<{agent}>"))

    return write


def run(rollouts: list[dict], session: ScriptedSession, style: str = "starter", **options):
    config = CritiquesConfig(**options.pop("config", {}))
    table = rows_to_table("rollouts", rollouts)
    prompts = load_prompts(style)
    return asyncio.run(criticise(PROBLEMS, table, session, config, prompts, night=NIGHT, **GRADING, **options))


def test_three_agents_a_verdict_and_a_graded_refinement():
    said = {"critique_a": "0 wrong 2+3=5\n1 right\nverdict 0\n", "critique_b": "0 wrong 2+3=5\n1 wrong\nverdict 0\n",
            "critique_c": "0 right\n1 right\nverdict -1\n"}  # fmt: skip
    session = ScriptedSession(model(**said))
    made = run([WRONG], session)
    rows = made.critiques.to_pylist()
    assert [(row["agent"], row["verdict"], row["first_error_step"]) for row in rows] == [
        ("critique_a", "wrong", 0), ("critique_b", "wrong", 0), ("critique_c", "right", -1),
    ]  # fmt: skip
    assert rows[1]["step_verdicts"] == ["wrong", "wrong"]
    (verdict,) = made.verdicts.to_pylist()
    assert (verdict["verdict"], verdict["first_error_step"], verdict["num_agents"]) == ("wrong", 0, 3)
    assert verdict["confidence"] == pytest.approx(2 / 3)
    (refinement,) = made.refinements.to_pylist()
    assert (refinement["steps"], refinement["answer"], refinement["outcome_reward"]) == (["2+3=5", "#### 5"], "5", 1.0)
    assert refinement["critique_id"] == verdict["critique_id"]
    assert verdict["text"] == "0 wrong 2+3=5\n1 right\nverdict 0\n"
    refine_prompt = session.tokenizer.decode(session.requests[-1].prompt_token_ids)
    assert refine_prompt == "<refine>2+3\n2+3=6\n#### 6\n<review>\n0 wrong 2+3=5\n1 right\nverdict 0\n<revise>\n"
    assert made.critiques.schema == SCHEMAS["critiques"]


def test_rollouts_judged_right_are_not_refined_and_refining_can_be_switched_off():
    agree = dict.fromkeys(("critique_a", "critique_b", "critique_c"), "0 right\n1 right\nverdict -1\n")
    made = run([RIGHT], ScriptedSession(model(**agree)))
    assert made.verdicts["confidence"].to_pylist() == [1.0]
    assert made.refinements.num_rows == 0
    accuse = dict.fromkeys(agree, "0 wrong\n1 right\nverdict 0\n")
    assert run([WRONG], ScriptedSession(model(**accuse)), config={"refine": False}).refinements.num_rows == 0


def test_a_critique_that_cannot_be_read_is_an_error_and_the_others_decide():
    said = {"critique_a": "hm", "critique_b": "verdict 0\n", "critique_c": "verdict 0\n"}
    made = run([WRONG], ScriptedSession(model(**said)))
    first = made.critiques.to_pylist()[0]
    assert (first["verdict"], first["first_error_step"], first["text"]) == (None, None, "hm")
    assert first["error"] == "unreadable: no_judgement"
    assert made.verdicts.to_pylist()[0]["num_agents"] == 2
    assert made.verdicts.to_pylist()[0]["confidence"] == 1.0


def test_without_a_readable_critique_there_is_no_verdict():
    made = run([WRONG], ScriptedSession(model(critique_a="?", critique_b="?", critique_c="?")))
    (verdict,) = made.verdicts.to_pylist()
    assert (verdict["verdict"], verdict["confidence"], verdict["error"]) == (None, None, "no_readable_critique")
    assert made.refinements.num_rows == 0


def test_a_failed_request_is_a_row_with_the_error_and_the_others_go_on():
    async def fail_for_agent_a(request):
        if chr(request.prompt_token_ids[10]) == "a":
            raise ServerError("the server answered 500", "")

    said = dict.fromkeys(("critique_a", "critique_b", "critique_c"), "verdict -1\n")
    made = run([RIGHT], ScriptedSession(model(**said), delay=fail_for_agent_a), max_error_fraction=0.5)
    assert [row["error"] and row["error"][:11] for row in made.critiques.to_pylist()] == ["ServerError", None, None]
    assert made.verdicts.to_pylist()[0]["verdict"] == "right"


def test_a_dead_engine_is_an_error_of_the_stage():
    async def fail(request):
        raise ServerError("nobody is there", "")

    with pytest.raises(ErrorRateError, match="critiques: 6 of 6 failed"):
        run([RIGHT, WRONG], ScriptedSession(model(), delay=fail))


def test_a_prompt_that_fills_the_context_is_a_row_with_error():
    said = dict.fromkeys(("critique_a", "critique_b", "critique_c"), "verdict -1\n")
    long_one = make_rollout("long", "x" * 100)
    made = run([RIGHT, long_one], ScriptedSession(model(**said)), max_model_len=80, max_error_fraction=0.6)
    errors = {row["rollout_id"]: row["error"] for row in made.critiques.to_pylist()}
    assert errors["r"] is None
    assert errors["long"].startswith("ContextLengthError: the critique prompt of 126 tokens")


def test_only_finished_independent_samples_are_criticised_up_to_the_limit():
    rollouts = rows_to_table("rollouts", [
        RIGHT, WRONG, make_rollout("failed", error="ServerError: 500"), make_rollout("empty"),
        make_rollout("tree", "2+3=5", group_id=None, tree_id="t"),
    ])  # fmt: skip
    assert {rollout["rollout_id"] for _, rollout in select_rollouts(PROBLEMS, rollouts, 10)} == {"r", "w"}
    assert len(select_rollouts(PROBLEMS, rollouts, 1)) == 1
    assert select_rollouts(PROBLEMS, rollouts, 0) == []


def test_groups_are_taken_whole_as_many_as_fit():
    rollouts = [make_rollout(f"{problem}{i}", "2+3=5", problem_id=problem) for problem in ("p1", "p2") for i in (2, 1)]
    problems = rows_to_table("problems", [make_problem("p1"), make_problem("p2")])
    table = rows_to_table("rollouts", [*rollouts, make_rollout("failed", "2+3=5", error="ServerError: 500")])
    groups = select_groups(problems, table, 3)
    assert [[row["rollout_id"] for row in group.rollouts] for group in groups] in ([["p11", "p12"]], [["p21", "p22"]])
    assert len(select_groups(problems, table, 4)) == 2
    assert select_groups(problems, table, 1) == []


def test_the_same_requests_are_made_whatever_the_order_of_the_rows():
    said = dict.fromkeys(("critique_a", "critique_b", "critique_c"), "0 wrong\nverdict 0\n")
    made = []
    for rollouts in ([RIGHT, WRONG], [WRONG, RIGHT]):
        made.append(run(rollouts, ScriptedSession(model(**said))))
    assert made[0] == made[1]
    assert len(set(made[0].critiques["request_id"].to_pylist())) == 6


def test_an_instructed_model_is_asked_and_read_in_the_plain_style():
    def write(text: str, rng: random.Random) -> str:
        if "Corrected solution:" in text:
            return "2+3=5\n#### 5\n"
        if "sums" in text:
            return "Step 0: incorrect, it is 5\nStep 1: correct\nVerdict: 0"
        return "0 right\n1 right\nverdict -1"

    agents = (AgentConfig(name="adder", role_prompt="Look at the sums.", weight=3.0), AgentConfig(name="other"))
    made = run([WRONG], ScriptedSession(write), style="plain", config={"agents": agents})
    assert made.verdicts.to_pylist()[0]["verdict"] == "wrong"
    assert made.verdicts.to_pylist()[0]["confidence"] == 0.75
    assert made.refinements.to_pylist()[0]["outcome_reward"] == 1.0


def test_every_critique_is_followed_where_pairs_of_critiques_are_wanted():
    """a and b find the error and lead to 5; c finds none and its refinement repeats 6. By its peers a (and b) is
    contradicted by half of the others at step 0 and by none at step 1, so -1/2; c by all of them at step 0, so -1.
    """
    said = {"critique_a": "0 wrong 2+3=5\n1 right\nverdict 0\n", "critique_b": "0 wrong\n1 right\nverdict 0\n",
            "critique_c": "0 right\n1 right\nverdict -1\n"}  # fmt: skip

    def write(text: str, rng: random.Random) -> str:
        if text.startswith("<refine>"):
            return "2+3=6\n#### 6\n" if "verdict -1" in text else "2+3=5\n#### 5\n"
        return next(words for agent, words in said.items() if text.startswith(f"<{agent}>"))

    made = run([WRONG], ScriptedSession(write), config={"refinements_per_critique": 2})
    assert made.critiques["quality"].to_pylist() == [-0.5, -0.5, -1.0]
    rewards = {}
    for row in made.refinements.to_pylist():
        rewards.setdefault(row["critique_id"], []).append(row["outcome_reward"])
    final_id, *agents = made.verdicts["critique_id"].to_pylist() + made.critiques["critique_id"].to_pylist()
    assert rewards == {final_id: [1.0, 1.0], agents[0]: [1.0, 1.0], agents[1]: [1.0, 1.0], agents[2]: [0.0, 0.0]}
    assert len(set(made.refinements["refinement_id"].to_pylist())) == 8
    tables = {"problems": PROBLEMS, "rollouts": rows_to_table("rollouts", [WRONG]), **vars(made)}
    with Warehouse.over(tables) as warehouse:
        outcomes = warehouse.named("preference_pairs/critique_outcomes", separator="\n")
    pairs = MINERS["marv_critique_pairs"].curation.run(outcomes, CritiquePairParams(min_refinements=2)).to_pylist()
    assert {(row["chosen"], row["rejected"], row["margin"]) for row in pairs} == {
        (said[better], said["critique_c"], 1.0) for better in ("critique_a", "critique_b")
    }  # the final critique is the text of critique_a, and equal texts count once


def test_where_all_critiques_are_one_text_nothing_is_compared():
    agree = dict.fromkeys(("critique_a", "critique_b", "critique_c"), "0 right\n1 right\nverdict -1\n")
    assert (
        run([RIGHT], ScriptedSession(model(**agree)), config={"refinements_per_critique": 4}).refinements.num_rows == 0
    )


def test_the_units_of_all_agents_and_what_became_of_them():
    said = {"critique_a": "0 wrong 2+3=5\n1 right\nverdict 0\n", "critique_b": "0 wrong\n1 wrong\nverdict 0\n",
            "critique_c": "0 right\n1 right\nverdict -1\n"}  # fmt: skip
    made = run([WRONG], ScriptedSession(model(**said)))
    found = made.critique_units.to_pylist()
    columns = ("agent", "step", "suggestion", "criterion", "category", "support", "kept", "reason")
    assert [tuple(row[name] for name in columns) for row in found] == [
        ("critique_a", 0, "2+3=5", "calculation", "contested", 0.5, True, None),
        ("critique_b", 0, None, "calculation", "contested", 0.5, False, "not_confirmed"),
        ("critique_b", 1, None, "answer", "contested", 0.0, False, "not_wrong_by_vote"),
    ]
    assert made.verdicts.to_pylist()[0]["num_units"] == 1


def test_the_engine_is_asked_for_the_form_of_a_critique_where_that_is_configured():
    said = dict.fromkeys(("critique_a", "critique_b", "critique_c"), "verdict -1\n")
    session = ScriptedSession(model(**said))
    run([RIGHT], session, config={"structured": True})
    assert {request.sampling.regex for request in session.requests} == {critique_regex(2)}
    session = ScriptedSession(model(**said))
    run([RIGHT], session)
    assert {request.sampling.regex for request in session.requests} == {None}


def test_a_critique_that_never_ends_has_a_reason_of_its_own():
    said = {"critique_a": "0 right\n" + "x" * 500, "critique_b": "verdict 0\n", "critique_c": "verdict 0\n"}
    made = run([WRONG], ScriptedSession(model(**said)))
    assert made.critiques["error"].to_pylist() == ["unreadable: endless", None, None]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("\n", "empty"), ("0 right\n1 wrong\nverdict -1\n", "contradictory"), ("verdict 7\n", "step_out_of_range"),
     ("7 wrong\n", "step_out_of_range"), ("0 right\n", "incomplete")],
)  # fmt: skip
def test_a_critique_that_cannot_be_read_is_a_row_with_its_reason_and_the_others_decide(text, reason):
    made = run([WRONG], ScriptedSession(model(critique_a=text, critique_b="verdict 0\n", critique_c="verdict 0\n")))
    assert made.critiques["error"].to_pylist() == [f"unreadable: {reason}", None, None]
    (verdict,) = made.verdicts.to_pylist()
    assert (verdict["verdict"], verdict["num_agents"]) == ("wrong", 2)
    nobody = run([WRONG], ScriptedSession(model(**dict.fromkeys(("critique_a", "critique_b", "critique_c"), text))))
    assert (nobody.verdicts["verdict"].to_pylist(), nobody.refinements.num_rows) == ([None], 0)


def test_agents_see_task_criteria_and_reference_and_a_model_judges_their_findings():
    def write(text: str, rng: random.Random) -> str:
        if text.startswith("Before solutions"):
            return "Task: add two and three\nCriterion: the sum is right\nCriterion: one answer\n"
        if text.startswith("A reviewer found"):
            return "no_flaw 4" if "step 1 is wrong" in text else "flawless 1"
        if "Corrected solution:" in text:
            return "2+3=5\n#### 5\n"
        return "0 wrong [calculation|4] two and three are five -> 2+3=5\n1 wrong\nverdict 0"

    session = ScriptedSession(write)
    config = {"crucial_information": "model", "meta_critique": "model", "show_reference": True, "max_tokens": 400,
              "agents": (AgentConfig(name="only"),)}  # fmt: skip
    made = run([WRONG], session, style="plain", config=config)
    (critique,), (verdict,) = made.critiques.to_pylist(), made.verdicts.to_pylist()
    assert critique["quality"] == -4.0
    assert verdict["crucial_information"] == (
        '{"task": "add two and three", "criteria": ["the sum is right", "one answer"], "reference": "5"}'
    )
    prompts = [session.tokenizer.decode(request.prompt_token_ids) for request in session.requests]
    asked = next(text for text in prompts if text.startswith("Review the solution"))
    assert "Judge by: the sum is right, one answer. The right answer is 5." in asked
    assert [row["category"] for row in made.critique_units.to_pylist()] == ["flawless", "no_flaw"]
    assert verdict["text"] == "0 wrong [calculation|4] two and three are five -> 2+3=5\n1 wrong\nverdict 0\n"


def test_a_style_without_a_role_and_an_unknown_method_are_refused_before_anything_is_asked():
    session = ScriptedSession(model())
    with pytest.raises(ConfigError, match="starter` has no template agents/meta_critique.txt"):
        run([RIGHT], session, config={"meta_critique": "model"})
    with pytest.raises(ConfigError, match="no method of agents `multi_critic`"):
        run([RIGHT], session, config={"methods": [{"method": "multi_critic"}]})
    assert session.requests == []


def test_progress_is_reported_per_rollout():
    seen = []
    said = dict.fromkeys(("critique_a", "critique_b", "critique_c"), "verdict -1\n")
    run([RIGHT, WRONG], ScriptedSession(model(**said)), on_progress=lambda *report: seen.append(report[:3]))
    assert seen == [("critiques", 1, 2), ("critiques", 2, 2), ("critiques: unary_feedback", 1, 1)]
