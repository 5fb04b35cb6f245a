"""A language model as critic: a scripted one of one token per character, and a real engine."""

import asyncio
import math
import os
from contextlib import asynccontextmanager
from functools import partial

import pytest

from critics.generative import GenerativeScorer, generative_scorer, verdict_places
from critics.model import initial_critic, load_encoder
from critics.score import padded_outputs, score_rollouts
from pipelines.config import AgentConfig, EngineConfig, GenerativeCriticConfig, PolicyConfig, Settings
from pipelines.errors import ConfigError, ErrorRateError
from pipelines.inference.engine_service import stop_engine
from pipelines.inference.errors import ContextLengthError, ServerError
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.scripted import ScriptedModel
from pipelines.inference.session import generate_session
from pipelines.reasoning.prompts import load_prompts
from tests.critics.conftest import build_language_model, make_problem, table

PROMPTS = load_prompts("starter")
PROMPT = PROMPTS.verify_prompt({"prompt": "1+1"})
AGENT = AgentConfig(name="critique_a")
FAIR = math.log(0.5)


def scorer_of(model: ScriptedModel, store: ResponseStore | None = None, **config) -> GenerativeScorer:
    @asynccontextmanager
    async def open_session():
        yield model.session(store)

    tokens = {"verdict_tokens": ("R", "W")} | config
    return GenerativeScorer(open_session, GenerativeCriticConfig(**tokens), PROMPTS, AGENT)


def last_token_is(**probabilities):
    """P of the last token by its character, whatever stands before it."""

    def script(request):
        return [FAIR] * (len(request.token_ids) - 2) + [math.log(probabilities[chr(request.token_ids[-1])])]

    return script


def never(request):
    raise AssertionError("no critique was asked for")


def test_the_score_is_the_share_of_right_between_both_verdicts():
    model = ScriptedModel(never, last_token_is(R=0.6, W=0.2))
    assert scorer_of(model).score([PROMPT], [["1+1=2", "#### 2"]]) == [pytest.approx([0.75, 0.75])]


def test_a_question_stands_before_the_verdict_of_every_step_and_not_between_steps():
    model = ScriptedModel(never, last_token_is(Y=0.1, N=0.3))
    scorer = scorer_of(model, verdict_tokens=("Y", "N"), question="Is it right? ")
    assert scorer.score(["Q\n"], [["ab", "cd"]]) == [pytest.approx([0.25, 0.25])]
    asked = sorted("".join(map(chr, request.token_ids)) for request in model.score_requests)
    assert asked == [
        "Q\nab\nIs it right? N", "Q\nab\nIs it right? Y", "Q\nab\ncd\nIs it right? N", "Q\nab\ncd\nIs it right? Y",
    ]  # fmt: skip


def test_verdicts_of_critiques_are_read_where_they_stand_and_averaged():
    """Two critiques: P(right) / P(wrong) of the words is 0.5^5 4 : 0.5^5 on lines of the first, 1 : 1 on the other."""
    texts = ["0 1+1=2 right\n1 #### 2 wrong 2\nverdict 1\n", "0 right\nverdict -1\n"]

    def words(request):
        text = "".join(map(chr, request.token_ids))
        sure = "0 1+1=2 " in text and text.endswith("right")
        return [FAIR] * (len(text) - 2) + [FAIR + (math.log(4) if sure else 0.0)]

    def shifted(request):  # log-probabilities are at most 0
        return [value - math.log(4) if index == len(request.token_ids) - 2 else value
                for index, value in enumerate(words(request))]  # fmt: skip

    model = ScriptedModel(lambda request: texts, shifted)
    scorer = scorer_of(model, num_rationales=2)
    # step 0: 4 / 5 and 1 / 2; step 1: the first critique alone speaks of it, after "0 1+1=2 right": 4 / 5 again
    assert scorer.score([PROMPT], [["1+1=2", "#### 2"]]) == [pytest.approx([0.65, 0.8])]
    (request,) = model.requests
    assert "".join(map(chr, request.prompt_token_ids)) == "<critique_a>1+1\n1+1=2\n#### 2\n<review>\n"
    assert (request.sampling.n, request.purpose) == (2, "critique")


def test_a_step_that_no_critique_speaks_of_has_no_score():
    model = ScriptedModel(lambda request: ["no idea\n"])
    assert scorer_of(model, num_rationales=1).score([PROMPT], [["1+1=2"]]) == [[None]]


@pytest.mark.parametrize(
    ("critique", "places"),
    [
        ("0 right\n1 right\n", [2, 10]),
        ("0 1+1=2 wrong 3\n", [8, None]),
        ("1 right\n0 right\n", [10, 2]),
        ("0 rightly\n10 right\n", [None, None]),
        ("", [None, None]),
    ],
)
def test_a_verdict_stands_behind_the_number_of_its_step(critique, places):
    assert verdict_places(critique, ["1+1=2", "#### 2"]) == places


def test_a_solution_beyond_the_context_has_no_scores_and_an_engine_that_fails_is_an_error():
    def long_or_fair(request):
        if len(request.token_ids) > 30:
            raise ContextLengthError("too long", "id")
        return last_token_is(R=0.5, W=0.5)(request)

    scorer = scorer_of(ScriptedModel(never, long_or_fair))
    assert scorer.score([PROMPT, PROMPT], [["1+1=2"], ["1" * 30]]) == [[0.5], [None]]

    def broken(request):
        raise ServerError("no", "id")

    with pytest.raises(ErrorRateError, match="generative_critic: 1 of 1 failed"):
        scorer_of(ScriptedModel(never, broken)).score([PROMPT], [["1+1=2"]])


def test_verdicts_of_several_tokens_are_refused():
    with pytest.raises(ConfigError, match="'Yes' and 'No' have 3 and 2 tokens"):
        scorer_of(ScriptedModel(never), verdict_tokens=("Yes", "No")).score([PROMPT], [["1+1=2"]])


def test_what_was_asked_once_is_replayed_and_the_version_names_what_is_asked(tmp_path):
    with ResponseStore(tmp_path / "store.sqlite") as store:
        first = ScriptedModel(never, last_token_is(R=0.5, W=0.5))
        scores = scorer_of(first, store).score([PROMPT], [["1+1=2"]])
        again = ScriptedModel(never)
        assert scorer_of(again, store).score([PROMPT], [["1+1=2"]]) == scores
        assert again.score_requests == []
    versions = {scorer_of(again, **config).version for config in ({}, {"question": "?"}, {"num_rationales": 2})}
    assert len(versions) == 3 and all(version.startswith("generative-scripted-") for version in versions)


def test_it_may_be_asked_while_an_event_loop_runs():
    async def inside():
        return scorer_of(ScriptedModel(never, last_token_is(R=0.6, W=0.2))).score([PROMPT], [["1+1=2"]])

    assert asyncio.run(inside()) == [pytest.approx([0.75])]


def test_its_rows_in_step_scores_are_those_of_a_judge_that_knows_every_problem_equally():
    scorer = scorer_of(ScriptedModel(never, last_token_is(R=0.6, W=0.2)))
    rollouts = table("rollouts", [{"rollout_id": "r", "problem_id": "p", "steps": ["1+1=2"]}])
    problems = table("problems", [make_problem("p", prompt="1+1")])
    (row,) = score_rollouts(rollouts, problems, scorer, PROMPTS.verify_prompt, "n1").to_pylist()
    assert (row["source"], row["scorer_version"], row["score"]) == ("judge", scorer.version, pytest.approx(0.75))
    assert row["disagreement"] is None and row["member_scores"] is None
    assert scorer.knows("any text") and scorer.knows(PROMPT)


@pytest.mark.vllm
def test_on_an_engine_a_verdict_in_place_is_that_of_the_initial_critic(tmp_path):
    policy = build_language_model(tmp_path / "policy", num_heads=1)  # the engine's CPU attention needs heads of 32
    settings = Settings(
        root=tmp_path / "workspace",
        policy=PolicyConfig(model=str(policy), max_model_len=64),
        engine=EngineConfig(device="cpu", max_num_seqs=32, kv_cache_gib=1.0),
    )
    prompts, steps = [f"<verify>{i}+2\n" for i in range(6)], [["a1", "2+3=5"], ["b" * 70]] * 3
    try:
        open_session = partial(generate_session, settings, run_id="run", owner_pid=os.getpid())
        scores = generative_scorer(settings, open_session).score(prompts, steps)
    finally:
        stop_engine(settings, "run")
    network = initial_critic(policy, seed=0)
    encoder = load_encoder(policy)
    for prompt, of_solution, found in zip(prompts, steps, scores, strict=True):
        ids, ends = encoder.encode(prompt, of_solution)
        if not ends:
            assert found == [None]
            continue
        (outputs_NK,) = padded_outputs(network)([ids], [ends])
        assert found == pytest.approx(outputs_NK[:, 0].sigmoid().tolist(), abs=1e-4)
