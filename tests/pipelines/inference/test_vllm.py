"""Real vLLM: one server for the module, and the life and death of servers."""

import asyncio
import itertools
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.config import EngineConfig, PolicyConfig, Settings
from pipelines.inference.engine_service import EngineHandle, ensure_engine, stop_engine
from pipelines.inference.engine_supervisor import read_state
from pipelines.inference.errors import ContextLengthError, EngineDeadError, EngineStartError, ServerError
from pipelines.inference.score import score_tokens
from pipelines.inference.session import Session, generate_session
from pipelines.inference.types import GenerationRequest, Sampling

pytestmark = pytest.mark.vllm

RUN_ID = "run-1"


def ask(session: Session, prompt: str, *, seed: int = 0, **sampling: object) -> GenerationRequest:
    return GenerationRequest(tuple(session.tokenizer.encode(prompt)), Sampling(**sampling), seed, "sample")


def in_session(settings: Settings, work: Callable, run_id: str = RUN_ID) -> object:
    """Run `await work(session)` in a session of the module's engine."""

    async def run() -> object:
        async with generate_session(settings, run_id=run_id) as session:
            return await work(session)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def owner() -> Iterator[subprocess.Popen]:
    """The process with whose end the module's engine ends."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def served(
    owner, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, EngineHandle]]:
    root = tmp_path_factory.mktemp("served")
    settings = Settings(
        root=root,
        policy=PolicyConfig(model=str(tiny_model), max_model_len=128),
        engine=EngineConfig(device="cpu", max_num_seqs=32, kv_cache_gib=1.0),
    )
    handle = ensure_engine(settings, tiny_model, run_id=RUN_ID, owner_pid=owner.pid)
    yield settings, handle
    stop_engine(settings, RUN_ID)


@pytest.fixture
def settings(served: tuple[Settings, EngineHandle]) -> Settings:
    return served[0]


def test_a_second_request_for_the_engine_of_a_run_finds_the_first(served, tiny_model):
    settings, handle = served

    assert ensure_engine(settings, tiny_model, run_id=RUN_ID) == handle


def test_token_ids_text_and_logprobs_agree_and_the_stop_text_is_kept(settings):
    async def work(session: Session):
        request = ask(session, "<solve>12+7\n", n=8, max_tokens=40, stop=("a",))
        return session, await session.generate(request)

    session, completion = in_session(settings, work)

    assert len(completion.samples) == 8
    assert completion.num_prompt_tokens == 6
    for sample in completion.samples:
        assert session.tokenizer.decode(sample.token_ids) == sample.text
        assert len(sample.token_logprobs) == len(sample.token_ids)
        assert all(value <= 0.0 for value in sample.token_logprobs)
        stopped = sample.text.endswith("a") or sample.token_ids[-1] in session.tokenizer.eos_ids
        assert sample.finish_reason == ("stop" if stopped else "length")
        assert "a" not in sample.text[:-1]
    assert {sample.finish_reason for sample in completion.samples} >= {"stop"}


def test_logprobs_of_generated_tokens_equal_the_scores_of_the_same_tokens(settings):
    async def work(session: Session):
        request = ask(session, "<solve>3*4\n", max_tokens=12)
        sample = (await session.generate(request)).samples[0]
        (scores,) = await score_tokens(session, [(*request.prompt_token_ids, *sample.token_ids)])
        return sample, scores

    sample, scores = in_session(settings, work)

    assert scores.token_logprobs[0] is None
    assert scores.token_logprobs[5:] == pytest.approx(sample.token_logprobs, abs=1e-3)


def test_logprobs_entropies_and_certainties_are_those_of_the_same_weights_in_torch(settings, tiny_model):
    texts = ["<solve>12+7-5\n12+7=19\n19-5=14\n#### 14\n", "abc 7", "5"]

    async def work(session: Session):
        sequences = [session.tokenizer.encode(text) for text in texts]
        await session.generate(ask(session, texts[0], max_tokens=2))  # whose prompt is in the prefix cache now
        return sequences, await score_tokens(session, sequences, "exact"), session.stats

    sequences, scored, stats = in_session(settings, work)

    for ids, scores in zip(sequences, scored, strict=True):
        own, entropies, certainties = torch_scores(tiny_model, ids)
        assert scores.token_logprobs[0] is scores.token_entropies[0] is scores.token_certainties[0] is None
        assert scores.token_logprobs[1:] == pytest.approx(own, abs=1e-3)
        assert scores.token_entropies[1:] == pytest.approx(entropies, abs=1e-3)
        assert scores.token_certainties[1:] == pytest.approx(certainties, abs=1e-3)
    _, replayed, stats = in_session(settings, work)
    assert replayed == [replace(scores, from_store=True) for scores in scored]
    assert (stats.num_from_store, stats.prompt_tokens) == (4, 0)


def torch_scores(folder: Path, ids: list[int]) -> tuple[list[float], list[float], list[float]]:
    """Log-probability, entropy and KL(uniform || p) of every token but the first, by transformers in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logprobs_TV = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0, :-1].double(), dim=-1)
    own = logprobs_TV.gather(1, torch.tensor(ids[1:], dtype=torch.long)[:, None])[:, 0]
    entropies = -(logprobs_TV.exp() * logprobs_TV).sum(dim=-1)
    even = torch.full_like(logprobs_TV, 1 / logprobs_TV.shape[1])
    certainties = (even * (even.log() - logprobs_TV)).sum(dim=-1)
    return own.tolist(), entropies.tolist(), certainties.tolist()


def test_consecutive_seeds_with_several_samples_do_not_repeat_samples(settings):
    async def work(session: Session):
        return await asyncio.gather(
            *(session.generate(ask(session, "5+5\n", seed=seed, n=4, max_tokens=16)) for seed in range(4))
        )

    completions = in_session(settings, work)

    assert len({sample.token_ids for completion in completions for sample in completion.samples}) == 16


def test_many_requests_in_flight_with_a_shared_prefix_hit_the_prefix_cache(settings):
    prefix = "12+7-5*3 of 42,37,45,12 and so on\n"  # 34 tokens: one whole block of 32

    async def work(session: Session):
        await session.generate(ask(session, prefix, max_tokens=2))
        requests = [ask(session, prefix + digit, seed=i, n=2, max_tokens=8) for i in range(6) for digit in "0123456789"]
        return await asyncio.gather(*(session.generate(request) for request in requests)), session.stats

    completions, stats = in_session(settings, work)

    assert len(completions) == 60
    assert {completion.num_cached_tokens for completion in completions} == {32}
    assert (stats.num_requests, stats.cached_tokens, stats.num_in_flight) == (61, 60 * 32, 0)


def test_a_stored_response_is_replayed_exactly_and_without_the_engine(settings):
    async def work(session: Session):
        completion = await session.generate(ask(session, "7*8\n", seed=11, n=3, max_tokens=20))
        return completion, session.stats

    first, _ = in_session(settings, work)
    replayed, stats = in_session(settings, work)

    assert replayed == replace(first, from_store=True)
    assert (stats.num_from_store, stats.completion_tokens) == (1, 0)


def test_a_request_that_cannot_fit_fails_before_it_is_sent(settings):
    async def work(session: Session):
        with pytest.raises(ContextLengthError, match="120 tokens and up to 20 more"):
            await session.generate(ask(session, "1" * 120, max_tokens=20))
        return session.stats

    stats = in_session(settings, work)

    assert (stats.num_errors, stats.completion_tokens) == (1, 0)


def test_a_seeded_prompt_of_full_length_beside_many_others_does_not_kill_the_engine(settings):
    async def work(session: Session):
        requests = [ask(session, "123456789 " * 12 + str(i), seed=i, n=4, max_tokens=4) for i in range(100)]
        return await asyncio.gather(*(session.generate(request) for request in requests))

    assert len(in_session(settings, work)) == 100


def test_an_engine_that_fails_to_start_shows_its_last_log_lines(make_settings, tiny_model):
    settings = make_settings(tiny_model, extra_args=("--no-such-flag",))

    with pytest.raises(EngineStartError, match="did not start: the engine process ended by itself") as caught:
        ensure_engine(settings, tiny_model, run_id="broken")

    assert "unrecognized arguments: --no-such-flag" in str(caught.value)


def test_the_engine_in_this_process_gives_what_the_server_gives(settings):
    async def work(session: Session):
        greedy = ask(session, "<solve>6*7\n", max_tokens=10, temperature=0.0)
        sampled = ask(session, "<solve>6*7\n", n=3, max_tokens=10, seed=5)
        (scores,) = await score_tokens(session, [session.tokenizer.encode("6*7=42\n")], "exact")
        return session.model_digest, await session.generate(greedy), await session.generate(sampled), scores

    digest, greedy, sampled, scores = in_session(settings, work)
    here = settings.model_copy(
        update={"root": settings.root / "here", "engine": settings.engine.model_copy(update={"mode": "in_process"})}
    )
    digest_here, greedy_here, sampled_here, scores_here = in_session(here, work)

    assert digest_here == digest
    assert greedy_here.request_id == greedy.request_id
    assert greedy_here.samples[0].token_ids == greedy.samples[0].token_ids
    assert greedy_here.samples[0].text == greedy.samples[0].text
    assert greedy_here.samples[0].token_logprobs == pytest.approx(greedy.samples[0].token_logprobs, abs=1e-4)
    assert [len(sample.token_logprobs) for sample in sampled_here.samples] == [
        len(sample.token_ids) for sample in sampled_here.samples
    ]
    assert not sampled_here.from_store
    assert not scores_here.from_store
    for name in ("token_logprobs", "token_entropies", "token_certainties"):
        assert getattr(scores_here, name)[1:] == pytest.approx(getattr(scores, name)[1:], abs=1e-4)


def test_a_regular_expression_shapes_every_sample_of_a_random_model(settings):
    """A random model's texts are noise; under the grammar every one that is not cut off fits it."""

    async def work(session: Session):
        return await session.generate(
            ask(session, "1+1\n", temperature=2.0, n=8, max_tokens=30, regex=r"[0-9]{2} (right|wrong)\n")
        )

    completion = in_session(settings, work)

    assert all(re.fullmatch(r"[0-9]{2} (right|wrong)\n", sample.text) for sample in completion.samples)


def test_when_the_owner_dies_the_engine_group_ends_and_requests_fail_within_seconds(settings, served, owner):
    _, handle = served
    wait_until(lambda: len(read_state(handle.state_path).members) >= 3, seconds=10)
    state = read_state(handle.state_path)

    async def ask_for_ever(session: Session, name: int) -> None:
        for seed in itertools.count():
            await session.generate(ask(session, f"{name}\n", seed=seed, n=4, max_tokens=60))

    async def work(session: Session):
        asking = asyncio.gather(*(ask_for_ever(session, name) for name in range(20)), return_exceptions=True)
        await asyncio.sleep(1.0)
        owner.kill()
        owner.wait()
        return await asyncio.wait_for(asking, 30)

    errors = in_session(settings, work)

    # a server that is just dying may still answer the first ones, with an error
    assert {type(error) for error in errors} <= {EngineDeadError, ServerError}
    assert wait_until(lambda: not any(p.is_alive() for p in [*state.members, state.supervisor]), seconds=15)
    assert f"its owner, process {owner.pid}, is gone" in handle.diagnose()
    assert "Last lines of" in handle.diagnose()


def wait_until(is_done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
