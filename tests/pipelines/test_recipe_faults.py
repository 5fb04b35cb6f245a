"""A policy that misbehaves on one problem, under every recipe: that problem says why, the others are as if alone."""

import asyncio
import math
from dataclasses import replace

import pytest
from reasoning_worlds import (
    GRADING,
    NIGHT,
    STARTER,
    ScriptedSession,
    make_config,
    make_problem,
    solve_two_plus_three,
)

from pipelines.inference.errors import EngineDeadError, RequestTimeoutError, ServerError
from pipelines.inference.replay import replaying
from pipelines.inference.scripted import SCRIPTED_DIGEST
from pipelines.inference.types import Completion, GenerationRequest
from pipelines.problem_rows import NO_STEP
from pipelines.rollouts import search_rollouts
from pipelines.rows import rows_to_table
from pipelines.search.recipes import RECIPES

NAMES = sorted(name for name, recipe in RECIPES.items() if "retrieval" not in recipe.needs)  # it needs a corpus
BAD, GOOD = "9+9", "2+3"
PROBLEMS = rows_to_table(
    "problems", [make_problem("bad", prompt=BAD, reference_answer="18"), make_problem("good", prompt=GOOD)]
)
TABLES = ("search_nodes", "search_edges", "rollouts")


def about_bad(request: GenerationRequest, session) -> bool:
    return BAD in session.tokenizer.decode(request.prompt_token_ids)


def make_session(write, fault) -> ScriptedSession:
    """A scripted policy whose engine answers requests about the bad problem with `fault(completion)`."""
    session = ScriptedSession(lambda text, rng: write(text, rng) if BAD in text else solve_two_plus_three(text, rng))

    async def answer(request: GenerationRequest) -> Completion:
        completion = await session.model(request)
        return fault(completion) if fault and about_bad(request, session) else completion

    session.session = replace(session.session, generate=replaying(answer, SCRIPTED_DIGEST, None, session.stats))
    return session


def broken_numbers(completion: Completion) -> Completion:
    nan = [replace(sample, token_logprobs=(math.nan,) * len(sample.token_ids)) for sample in completion.samples]
    return replace(completion, samples=tuple(nan))


def raising(error: Exception):
    def fault(completion: Completion) -> Completion:
        raise error

    return fault


FAULTS = {  # name -> what the policy writes about the bad problem, what happens to the completion
    "nothing": (lambda text, rng: "", None),
    "blank lines": (lambda text, rng: "\n \n\n", None),
    "endless": (lambda text, rng: "9+9=18+" * 100, None),
    "no answer ever": (lambda text, rng: "so\n" * 100, None),
    "replaced characters": (lambda text, rng: "\ufffd\ufffd\x00\n#### \ufffd\n", None),
    "not clean UTF-8": (lambda text, rng: "9+9=\ud800\n#### \ud800\n", None),
    "broken numbers": (solve_two_plus_three, broken_numbers),
    "refused": (solve_two_plus_three, raising(ServerError("status 500", "r"))),
    "late": (solve_two_plus_three, raising(RequestTimeoutError("no answer in 1 s", "r"))),
    "dead": (solve_two_plus_three, raising(EngineDeadError("gone", "r"))),
}


def search(recipe: str, fault: str | None, problems=PROBLEMS):
    write, on_completion = FAULTS[fault] if fault else (solve_two_plus_three, None)
    session = make_session(write, on_completion)
    config = make_config(recipe=recipe, max_depth=4)
    return asyncio.run(search_rollouts(problems, session, STARTER, config, night=NIGHT, **GRADING))


def rows_of(result, problem_id: str, table: str) -> list[dict]:
    rows = getattr(result, table).to_pylist()
    if table == "search_edges":
        trees = {row["tree_id"] for row in rows_of(result, problem_id, "search_nodes")}
        return [row for row in rows if row["tree_id"] in trees]
    return [row for row in rows if row["problem_id"] == problem_id]


@pytest.fixture(scope="module")
def alone():
    only_good = PROBLEMS.slice(1)
    return {name: search(name, None, only_good) for name in NAMES}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("recipe", NAMES)
def test_one_bad_problem_has_its_reason_and_leaves_the_others_alone(recipe, fault, alone):
    result = search(recipe, fault)
    for table in TABLES:
        assert rows_of(result, "good", table) == rows_of(alone[recipe], "good", table)
    bad = rows_of(result, "bad", "rollouts")
    assert bad, "rows expected = rows present: a problem never vanishes"
    assert all(row["error"] or row["outcome_reward"] == 0.0 for row in bad)
    assert all(row["answer"] is None for row in bad if row["finish_reason"] == "length")
    if fault in ("not clean UTF-8", "broken numbers", "refused", "late", "dead"):
        assert any(row["error"] for row in bad)
        assert result.num_errors == 1
    if fault in ("nothing", "blank lines") and not RECIPES[recipe].merge_samples:  # a sample may be empty, and wrong
        assert {row["error"] for row in bad} == {NO_STEP}
