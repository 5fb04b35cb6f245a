"""Proposals: distinct steps, exact tokens, priors, limits."""

import asyncio
import math

import pytest
from reasoning_worlds import NIGHT, STARTER, ScriptedSession, make_config, make_problem, solve_two_plus_three

from pipelines.inference.errors import ContextLengthError
from pipelines.inference.types import Completion, Sample
from pipelines.reasoning.propose import distinct_candidates, make_propose, prior_of
from pipelines.search.types import Candidate, Path

STOP = STARTER.step_stop


def completion_of(*samples: Sample) -> Completion:
    return Completion("r1", samples, 10, 0, False)


def sample(text: str, tokens=(1, 2), logprobs=(-0.25, -0.75), finish_reason="stop") -> Sample:
    return Sample(tuple(tokens), text, tuple(logprobs), finish_reason)


def step(text: str, is_terminal: bool = False) -> Candidate:
    return Candidate(text, tuple(map(ord, text + "\n")), -1.0, 1.0, is_terminal, "r0")


def test_equal_steps_collapse_into_the_first_of_them():
    completion = completion_of(sample("a=1\n"), sample("b=2\n"), sample("a=1", (7,), (-3.0,)))
    candidates = distinct_candidates(completion, frozenset({0}), STOP)
    assert [candidate.step_text for candidate in candidates] == ["a=1", "b=2"]
    assert candidates[0].token_ids == (1, 2)
    assert candidates[0].sum_logprob == -1.0
    assert candidates[0].request_id == "r1"


def test_the_prior_is_the_probability_with_length_exponent_one_and_a_quarter():
    # 16 tokens: 16 ** 1.25 = 32, so exp(-8 / 32)
    assert math.isclose(prior_of(-8.0, 16), math.exp(-0.25))
    assert prior_of(0.0, 3) == 1.0


def test_blank_steps_and_samples_without_finite_log_probabilities_are_dropped():
    completion = completion_of(sample(" \n"), sample("x\n", logprobs=(math.nan, -1.0)))
    assert distinct_candidates(completion, frozenset({0}), STOP) == []


def test_a_step_ends_the_path_at_an_answer_an_end_token_or_a_length_limit():
    answer, ended, cut, plain = distinct_candidates(
        completion_of(
            sample("#### 5\n"), sample("so 5", (3, 0)), sample("2+3=", finish_reason="length"), sample("2+3=5\n")
        ),
        eos_ids=frozenset({0}),
        stop=STOP,
    )
    assert answer.is_terminal and ended.is_terminal and cut.is_terminal
    assert not plain.is_terminal
    assert (answer.finish_reason, cut.finish_reason) == ("stop", "length")


def test_a_step_that_stopped_without_a_stop_text_ends_the_path_also_where_the_end_token_is_not_among_its_tokens():
    """A server without token ids: its text is encoded again, and the end token is not in the text."""
    completion = completion_of(sample("so 5"), sample("2+3=5\n"), sample("so 6 ###"))
    found = distinct_candidates(completion, frozenset({0}), ("\n", "###"))
    assert [step.is_terminal for step in found] == [True, False, False]
    assert [step.is_terminal for step in distinct_candidates(completion, frozenset({0}), ())] == [True] * 3


def propose_with(session, path, num_candidates=8, **options):
    config = make_config(**options.pop("config", {}))
    propose = make_propose(session, STARTER, config, night=NIGHT, **options)
    return asyncio.run(propose(path, num_candidates))


def test_the_policy_is_asked_for_the_next_step_after_the_exact_tokens_of_the_path():
    session = ScriptedSession(solve_two_plus_three)
    candidates = propose_with(session, Path(make_problem(), (step("2+3=5"),)))
    (request,) = session.requests
    assert session.tokenizer.decode(request.prompt_token_ids) == "<solve>2+3\n2+3=5\n"
    assert (request.sampling.n, request.sampling.stop, request.purpose) == (8, ("\n",), "expand")
    assert [candidate.step_text for candidate in candidates] == ["#### 5"]
    assert session.tokenizer.decode(candidates[0].token_ids) == "#### 5\n"


def test_a_seed_depends_on_the_path_the_problem_the_night_and_the_configured_seed():
    def seed_of(path, night=NIGHT, seed=0):
        session = ScriptedSession(solve_two_plus_three)
        propose = make_propose(session, STARTER, make_config(seed=seed), night=night)
        asyncio.run(propose(path, 4))
        return session.requests[0].seed

    root = Path(make_problem(), ())
    assert seed_of(root) == seed_of(root)
    others = [
        seed_of(Path(make_problem(), (step("2+3=5"),))),
        seed_of(Path(make_problem("p2"), ())),
        seed_of(root, night="2026-01-02"),
        seed_of(root, seed=1),
    ]
    assert len({seed_of(root), *others}) == 5


def test_at_temperature_zero_one_sample_is_asked_for():
    session = ScriptedSession(solve_two_plus_three)
    propose_with(session, Path(make_problem(), ()), config={"temperature": 0.0})
    assert session.requests[0].sampling.n == 1


def test_a_prompt_longer_than_the_context_is_an_error_and_a_full_path_has_no_next_step():
    session = ScriptedSession(solve_two_plus_three)
    with pytest.raises(ContextLengthError, match="p1: its prompt has 11 tokens and the context 11"):
        propose_with(session, Path(make_problem(), ()), max_model_len=11)
    assert propose_with(session, Path(make_problem(), (step("2+3=5"),)), max_model_len=17) == []
    assert session.requests == []


def test_a_sample_without_tokens_is_dropped():
    assert distinct_candidates(completion_of(sample("a=1\n", (), ())), frozenset({0}), STOP) == []
