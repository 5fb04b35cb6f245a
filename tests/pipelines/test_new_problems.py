"""Problems that the policy poses: sources, statements, screening, grades and answers, worked out by hand."""

import asyncio
import random
from collections.abc import Callable

import pyarrow as pa
import pytest
from reasoning_worlds import NIGHT, ScriptedSession, make_problem

from pipelines.audit.contamination import ContaminationParams, benchmark_of
from pipelines.config import NewProblemMethodConfig, NewProblemsConfig, Settings
from pipelines.configured import check_names
from pipelines.errors import ConfigError, ErrorRateError
from pipelines.inference.errors import ServerError
from pipelines.lake import Lake
from pipelines.new_problems import made_problems, pose_problems
from pipelines.posing import exact, words
from pipelines.posing.exact import Form, Part
from pipelines.reasoning.prompts import load_prompts
from pipelines.rows import rows_to_table
from pipelines.tables import SCHEMAS
from pipelines.warehouse import Warehouse

CHAIN = make_problem(prompt="12+7-5", reference_answer="14", canonical="12+7-5")
NUMBERS = make_problem("c1", family="countdown", grader="countdown", prompt="2,3,4 to 24", reference_answer="24",
                       canonical="2,3,4 to 24")  # fmt: skip
APPLES = make_problem("w1", family="mine", prompt="Ann has 3 apples and buys 4. How many has she?", difficulty=None,
                      reference_answer="7", canonical="ann has 3 apples and buys 4. how many has she?",
                      source="mine.jsonl")  # fmt: skip
PEARS = "Bob has 5 pears and eats 2. How many are left?"


def sample(problem_id: str, answer: str | None, **changes: object) -> dict:
    return {"problem_id": problem_id, "group_id": f"g-{problem_id}", "answer": answer} | changes


def pose(
    problems: list[dict],
    write: Callable[[str], str],
    method: str = "imagination",
    style: str = "starter",
    rollouts: list[dict] = (),
    options: dict | None = None,
    session: ScriptedSession | None = None,
    **config: object,
) -> list[dict]:
    """The rows of one method with one variant per source; what the model writes is a function of the prompt."""
    chosen = {"method": method, "num_variants": 1} | config.pop("chosen", {})
    table = asyncio.run(
        pose_problems(
            rows_to_table("problems", problems), rows_to_table("rollouts", list(rollouts)),
            session or ScriptedSession(lambda text, rng: write(text)), load_prompts(style),
            NewProblemsConfig(methods=(NewProblemMethodConfig(**chosen),), **config), night=NIGHT, **(options or {}),
        )
    )  # fmt: skip
    assert table.schema == SCHEMAS["new_problems"]
    return table.to_pylist()


# whom the methods start from -------------------------------------------------------------------------------------


def uncertain(threshold: float, rollouts: list[dict], *problems: dict) -> list[dict]:
    tables = {"problems": rows_to_table("problems", list(problems)), "rollouts": rows_to_table("rollouts", rollouts)}
    with Warehouse.over(tables) as warehouse:
        return warehouse.named("new_problems/uncertain_problems", threshold=threshold).to_pylist()


def test_uncertain_is_a_problem_whose_two_likeliest_answers_are_close_the_closest_first():
    """p1: 5 has 3/4, 6 has 1/4: u = 1/2. p2: a tie: u = 0. p3: one answer: u = 1. p4: 2/4 and two of 1/4: u = 1/4."""
    answers = {"p1": ["5", "5", "5", "6"], "p2": ["5", "6"], "p3": ["5", "5"], "p4": ["1", "1", "2", "3"]}
    rollouts = [sample(name, answer) for name, given in answers.items() for answer in given]
    problems = [make_problem(name) for name in answers]
    assert uncertain(0.95, rollouts, *problems) == [
        {"problem_id": "p2", "answer_margin": 0.0},
        {"problem_id": "p4", "answer_margin": 0.25},
        {"problem_id": "p1", "answer_margin": 0.5},
    ]
    assert [row["problem_id"] for row in uncertain(0.5, rollouts, *problems)] == ["p2", "p4"]  # below, not at it
    assert uncertain(1.0, [], *problems) == []


def test_what_is_not_answered_failed_or_not_a_sample_tells_nothing_of_uncertainty():
    rollouts = [
        sample("p1", "5"), sample("p1", None), sample("p1", "6", error="lost"), sample("p1", "7", group_id=None),
        sample("p2", None), sample("held", "1"), sample("held", "2"), sample("test", "1"), sample("test", "2"),
    ]  # fmt: skip
    problems = [make_problem("p1"), make_problem("p2"), make_problem("held", split="held_out"),
                make_problem("test", is_evaluation=True)]  # fmt: skip
    assert uncertain(0.95, rollouts, *problems) == []


def test_tt_si_starts_from_uncertain_problems_and_imagination_from_any_but_held_out_ones():
    problems = [CHAIN, make_problem("sure", prompt="20+3-4"), make_problem("h", prompt="40*2-5", split="held_out")]
    rollouts = [sample("p1", "14"), sample("p1", "4"), sample("sure", "19"), sample("sure", "19")]
    rows = pose(problems, lambda text: "+2-3", "tt_si", rollouts=rollouts, chosen={"parameters": {"begun_share": 0.0}})
    assert [(row["source_problem_id"], row["answer_margin"]) for row in rows] == [("p1", 0.0)]
    rows = pose(problems, lambda text: "+2-3")
    assert {(row["source_problem_id"], row["answer_margin"]) for row in rows} == {("p1", None), ("sure", None)}
    assert len(pose(problems, lambda text: "+2-3", chosen={"num_sources": 1})) == 1
    assert pose(problems, lambda text: "+2-3", chosen={"num_sources": 0}) == []


def test_a_style_without_words_poses_problems_of_the_starter_families_alone():
    assert pose([APPLES], lambda text: "+2-3") == []
    assert pose([make_problem(prompt="twelve plus seven")], lambda text: "+2-3") == []


# statements by the rules of a family -------------------------------------------------------------------------------


def test_a_chain_is_given_its_start_and_the_first_operations_and_a_dial_its_ending():
    assert exact.form_of("arithmetic", "12+7-5*3", 0.0) == Form((Part("12", "([+*-][2-9]){3}"),))
    assert exact.form_of("arithmetic", "12+7-5*3", 0.5) == Form((Part("12+7", "([+*-][2-9]){2}"),))  # 1.5 rounded down
    dial = exact.form_of("dial", "12+7-5*3 band 13 mod 4", 0.7)
    assert dial == Form((Part("12+7-5", "([+*-][2-9]){1}"),), " band 13 mod 4")


def test_countdown_is_given_numbers_and_the_words():
    target = Part(" to ", "[1-9][0-9]{0,2}")
    assert exact.form_of("countdown", "2,3,4 to 24", 0.0) == Form((Part("2", "(,[1-9]){2}"), target))
    assert exact.form_of("countdown", "2,3,4 to 24", 0.99) == Form((Part("2,3", "(,[1-9]){1}"), target))


def test_a_statement_is_answered_and_graded_by_the_rules():
    found = exact.read(CHAIN, "12+5-3")  # 12+5 = 17, 17-3 = 14
    assert (found.reference_answer, found.answerability, found.faithfulness) == ("14", 1.0, 1.0)
    assert (found.canonical, found.difficulty, found.split) == ("12+5-3", 1, "train")
    assert exact.read(CHAIN, "12-2-3").faithfulness == 0.0  # 10, then 7: below the generator's 10
    assert exact.read(CHAIN, "40*2-5").faithfulness == 0.0  # 40 is too large to multiply
    assert exact.read(CHAIN, "12+5").faithfulness == 0.0  # another number of operations
    assert exact.read(CHAIN, "12+5-3 band 13 mod 4") is None  # a dial
    assert exact.read(CHAIN, "12+") is None


def test_a_countdown_statement_is_put_in_order_and_asked_whether_its_target_can_be_reached():
    found = exact.read(NUMBERS, "4,2,3 to 10")  # 4*2+... : (4*3)-2 = 10
    assert (found.prompt, found.reference_answer, found.answerability) == ("2,3,4 to 10", "10", 1.0)
    lost = exact.read(NUMBERS, "2,3,4 to 100")  # at most 2*3*4 = 24 ... (3+2)*4 = 20
    assert (lost.reference_answer, lost.answerability, lost.faithfulness) == (None, 0.0, 1.0)
    assert exact.read(NUMBERS, "2,3 to 6").faithfulness == 0.0


# statements in words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "line"),
    [(f"\n{PEARS}\nThe answer is 3.", PEARS), (f"New problem: {PEARS}", PEARS), (f"**Problem:** {PEARS}", PEARS),
     ("Problem: -3 + 4?", "-3 + 4?"), ("Problem:\n" + PEARS, PEARS), (" \n", ""), ("", "")],
)  # fmt: skip
def test_the_statement_of_a_reply_is_its_first_line_without_a_heading(reply, line):
    assert words.first_line(reply) == line


def test_a_statement_without_a_letter_or_of_endless_length_is_none():
    assert words.read(APPLES, "?!", 0.0) is None
    assert words.read(APPLES, "x" * (words.MAX_STATEMENT_CHARS + 1), 0.0) is None
    found = words.read(APPLES, "Bob  HAS 5?", 0.0)
    assert (found.canonical, found.split, found.answerability) == ("bob has 5?", "train", None)
    assert words.read(APPLES, "Bob  HAS 5?", 1.0).split == "held_out"


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("answerable yes\nfaithful no\n", words.Grade(True, False)),
        ("Faithful: YES\nAnswerable: no.", words.Grade(False, True)),
        ("answerable yes", None),  # one of two
        ("answerable yes\nanswerable no\nfaithful yes", None),  # contradicts itself
        ("yes\nyes", None),
        ("responsable oui\nfidèle oui", None),  # another language
        ("", None),
    ],
)
def test_a_grade_says_both_things_once(text, grade):
    assert words.read_grade(text) == grade


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["3", "3", "4", None], ("3", 0.5)),
        (["4", "3"], ("4", 0.5)),  # a tie: the first found
        ([None, None], (None, 0.0)),
        (["3"], ("3", 1.0)),
        (["1/2", "0.5", "1/2"], ("1/2", 2 / 3)),  # compared as text
    ],
)
def test_the_reference_is_what_most_solutions_say(answers, expected):
    assert words.consensus(answers) == expected


# the whole way -------------------------------------------------------------------------------------------------------


def test_a_new_chain_is_a_row_with_its_source_its_request_and_the_verifiers_answer():
    session = ScriptedSession(lambda text, rng: "+5-3")
    (row,) = pose([CHAIN], None, session=session)
    assert session.tokenizer.decode(session.requests[0].prompt_token_ids) == "<solve>12"
    assert session.requests[0].sampling.regex == "([+*-][2-9]){2}"
    assert session.requests[0].affinity == "p1"
    expected = {
        "method": "imagination", "source_problem_id": "p1", "family": "arithmetic", "difficulty": 1,
        "prompt": "12+5-3", "canonical": "12+5-3", "grader": "number", "reference_answer": "14",
        "answered_by": "verifier", "answerability": 1.0, "faithfulness": 1.0, "num_grades": 0, "agreement": None,
        "kept": True, "reason": None, "num_requests": 1, "num_failed": 0, "num_tokens": 5, "num_prompt_tokens": 9,
        "request_id": session.requests[0].request_id("scripted"), "request_ids": [], "error": None, "night": NIGHT,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_countdown_is_written_in_two_requests_and_words_are_given():
    session = ScriptedSession(lambda text, rng: "10" if text.endswith(" to ") else ",4,3")
    (row,) = pose([NUMBERS], None, session=session)
    asked = [session.tokenizer.decode(one.prompt_token_ids) for one in session.requests]
    assert asked == ["<solve>2", "<solve>2,4,3 to "]
    assert (row["prompt"], row["kept"], row["num_requests"]) == ("2,3,4 to 10", True, 2)
    assert row["request_ids"] == [session.requests[0].request_id("scripted")]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("+7-5", "duplicate"),  # the source itself
        ("+4-4", "held_out"),  # by the split's hash
        ("+9+9+9", "unfaithful"),
        ("=19", "unreadable"),
        ("", "unreadable"),
        ("+5-3" + "0" * 300, "cut_off"),
    ],
)
def test_a_chain_that_is_not_kept_has_a_reason(written, reason):
    (row,) = pose([CHAIN], lambda text: written, max_tokens=64)
    assert (row["kept"], row["reason"]) == (False, reason)
    assert (row["prompt"] is None) == (reason in ("unreadable", "cut_off"))


def test_a_target_out_of_reach_is_unanswerable_and_has_no_answer():
    (row,) = pose([NUMBERS], lambda text: "100" if text.endswith(" to ") else ",3,4")
    assert (row["reason"], row["reference_answer"], row["answered_by"]) == ("unanswerable", None, None)
    assert (row["answerability"], row["faithfulness"]) == (0.0, 1.0)


def test_of_equal_statements_the_first_is_kept_and_a_problem_of_another_night_is_known():
    rows = pose([CHAIN], lambda text: "+5-3", chosen={"num_variants": 3})
    assert [row["reason"] for row in rows] == [None, "repeated", "repeated"]
    before = rows_to_table("new_problems", rows)
    (again,) = pose([CHAIN], lambda text: "+5-3", options={"made_before": before})
    assert again["reason"] == "duplicate"


def test_the_canonical_form_of_an_evaluation_problem_is_held_out_in_every_family():
    frozen = make_problem("e", family="dial", prompt="12+5-3 band 13 mod 4", canonical="12+5-3", is_evaluation=True)
    (row,) = pose([CHAIN, frozen], lambda text: "+5-3")
    assert row["reason"] == "held_out"


def test_draws_differ_and_a_repeated_night_asks_the_same():
    def write(text: str, rng: random.Random) -> str:
        return "".join(f"{rng.choice('+-')}{rng.randint(2, 9)}" for _ in range(2))

    rows = [pose([CHAIN], None, session=ScriptedSession(write), chosen={"num_variants": 8}) for _ in range(2)]
    assert rows[0] == rows[1]
    assert len({row["request_id"] for row in rows[0]}) == 8 and len({row["prompt"] for row in rows[0]}) > 4


def in_words(
    statement: str = PEARS,
    grade: str = "answerable yes\nfaithful yes\n",
    solution: str = "5-2=3\n#### 3\n",
) -> Callable[[str], str]:
    """A model that poses, grades and solves."""

    def write(text: str) -> str:
        if text.startswith(("Imagine", "Write one new")):
            return f"{statement}\n"
        return grade if text.startswith("A new problem was made") else solution

    return write


WORDS = {"num_grades": 2, "num_solutions": 4, "style": "plain", "options": {"held_out_fraction": 0.0}}


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_a_problem_in_words_is_graded_and_answered_by_consensus(style):
    write = in_words()
    (row,) = pose([APPLES], lambda text: write(text.removeprefix("user: ")), **WORDS | {"style": style})
    expected = {
        "prompt": PEARS, "family": "mine", "difficulty": None, "reference_answer": "3", "answered_by": "consensus",
        "answerability": 1.0, "faithfulness": 1.0, "num_grades": 2, "agreement": 1.0, "num_solutions": 4,
        "kept": True, "reason": None, "num_requests": 7,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert len(set(row["request_ids"])) == 6


@pytest.mark.parametrize(
    ("said", "reason", "num_requests"),
    [
        ({"grade": "answerable no\nfaithful yes\n"}, "unanswerable", 3),
        ({"grade": "answerable yes\nfaithful no\n"}, "unfaithful", 3),
        ({"grade": "perhaps"}, "unreadable_grades", 3),
        ({"solution": "I do not know.\n"}, "no_consensus", 7),
        ({"solution": "5-2"}, "no_consensus", 7),
        ({"statement": APPLES["prompt"].upper()}, "duplicate", 1),
        ({"statement": "..."}, "unreadable", 1),
    ],
)
def test_a_problem_in_words_that_fails_a_test_goes_no_further(said, reason, num_requests):
    (row,) = pose([APPLES], in_words(**said), **WORDS)
    assert (row["reason"], row["kept"], row["num_requests"]) == (reason, False, num_requests)
    assert row["reference_answer"] is None


def test_half_of_the_grades_and_solutions_suffice_at_the_default_bounds():
    def write(text: str, rng: random.Random) -> str:
        is_grade = text.startswith("A new problem")
        return in_words(grade=f"answerable {rng.choice(['yes', 'no'])}\nfaithful yes\n")(text) if is_grade else (
            in_words(solution=f"#### {rng.choice('3334')}\n")(text)
        )  # fmt: skip

    config = WORDS | {"num_grades": 16, "num_solutions": 16, "min_answerability": 0.25}
    (row,) = pose([APPLES], None, session=ScriptedSession(write), **config)
    assert 0.25 <= row["answerability"] < 1.0 and row["faithfulness"] == 1.0
    assert 0.5 <= row["agreement"] < 1.0 and row["reference_answer"] == "3"
    (strict,) = pose([APPLES], None, session=ScriptedSession(write), **config | {"min_agreement": 1.0})
    assert (strict["reason"], strict["agreement"]) == ("no_consensus", row["agreement"])


LONG = "a train with nine red cars leaves the old station at noon and meets two others on its way"  # 18 words


def test_words_in_a_row_with_a_held_out_problem_or_a_benchmark_are_a_leak():
    held_out = make_problem("h", family="mine", prompt=f"{LONG} home", canonical="other", split="held_out")
    leaking = in_words(statement=f"Today {LONG}. How many cars are there?")
    (row,) = pose([APPLES, held_out], leaking, **WORDS)
    assert (row["reason"], row["num_requests"]) == ("benchmark_overlap", 1)
    (row,) = pose([APPLES], leaking, **WORDS)
    assert row["kept"]
    test = benchmark_of("test", "", [(LONG, "test:1")], ContaminationParams(benchmark=("test",)))
    options = WORDS["options"] | {"benchmarks": [test]}
    (row,) = pose([APPLES], leaking, **WORDS | {"options": options})
    assert row["reason"] == "benchmark_overlap"


# what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_failed_request_is_a_row_and_a_dead_engine_an_error():
    async def fail(request):
        raise ServerError("nobody is there", "")

    session = ScriptedSession(lambda text, rng: "", delay=fail)
    with pytest.raises(ErrorRateError, match="new_problems: 1 of 1 failed"):
        pose([CHAIN], None, session=session)
    count = iter(range(100))

    async def fail_first(request):
        if next(count) == 0:
            raise ServerError("too busy", "")

    session = ScriptedSession(lambda text, rng: "+5-3", delay=fail_first)
    rows = pose([CHAIN], None, session=session, chosen={"num_variants": 2}, options={"max_error_fraction": 0.5})
    assert [(row["reason"], row["num_failed"]) for row in rows] == [("request_failed", 1), (None, 0)]
    assert rows[0]["error"].startswith("ServerError") and rows[0]["request_id"] is not None


def test_empty_tables_give_an_empty_table_of_the_schema():
    assert pose([], lambda text: "") == []
    assert pose([CHAIN], lambda text: "", "tt_si") == []


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"method": "imaginaton"}, "no method `imaginaton` that poses problems; did you mean imagination"),
        ({"method": "tt_si", "parameters": {"threshold": 0}}, "the parameter threshold of tt_si"),
        ({"method": "tt_si", "parameters": {"share": 1}}, "the parameter share of tt_si"),
    ],
)
def test_what_the_configuration_names_wrongly_is_said(method, message):
    settings = Settings.model_validate({"new_problems": {"methods": [method]}})
    with pytest.raises(ConfigError, match=message):
        check_names(settings)


def test_a_source_of_made_problems_that_names_no_method_is_an_error():
    sources = [{"kind": "starter"}, {"kind": "new_problems", "methods": ["prof"]}]
    with pytest.raises(ConfigError, match="problems.sources: there is no method `prof`"):
        check_names(Settings.model_validate({"problems": {"sources": sources}}))


def test_a_night_reads_what_other_nights_made_and_not_its_own(tmp_path):
    lake = Lake(str(tmp_path))
    assert made_problems(lake, except_night=None) == (SCHEMAS["new_problems"].empty_table(), {})
    for night in ("2026-01-01", "2026-01-02"):
        lake.write("new_problems", rows_to_table("new_problems", [{"candidate_id": night}]), partition=night)
    rows, lineage = made_problems(lake, except_night="2026-01-02")
    assert rows["candidate_id"].to_pylist() == ["2026-01-01"]
    assert lineage == {"new_problems/2026-01-01": lake.generation("new_problems", "2026-01-01")}
    assert isinstance(rows, pa.Table)
