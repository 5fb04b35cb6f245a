"""The client against a real local HTTP server that misbehaves on demand. No model is involved."""

import asyncio
import json
import shutil
import threading
import time
from pathlib import Path

import pytest
from fake_server import Reply, answer, ok, serving

from pipelines.errors import ConfigError
from pipelines.inference.errors import (
    ContextLengthError,
    EngineDeadError,
    RequestError,
    RequestTimeoutError,
    ServerError,
)
from pipelines.inference.http_client import open_client, served_models
from pipelines.inference.response_store import ResponseStore
from pipelines.inference.session import generate_session
from pipelines.inference.types import Completion, GenerationRequest, Sample, Sampling, UsageStats
from pipelines.inference.worker import Endpoint
from pipelines.inference.workers import Patience


def make_request(prompt: tuple[int, ...] = (1, 2, 3), seed: int = 0, **sampling: object) -> GenerationRequest:
    return GenerationRequest(prompt, Sampling(**{"max_tokens": 4, **sampling}), seed, "sample")


def ask(
    url: str, *requests: GenerationRequest, store: ResponseStore | None = None, **options
) -> tuple[list, UsageStats]:
    """Outcomes (completions or errors) of requests that are in flight together, and the counts."""
    stats = UsageStats()
    timeout_s = options.pop("request_timeout_s", 5.0)
    window_s = options.pop("retry_window_s", 1.0)
    endpoint = Endpoint(url, "m", **options)

    async def run() -> list:
        async with open_client(
            [endpoint], "d", store, max_in_flight=8, patience=Patience(timeout_s, window_s), stats=stats
        ) as client:
            return await asyncio.gather(*(client.generate(request) for request in requests), return_exceptions=True)

    return asyncio.run(run()), stats


def test_a_request_asks_for_token_ids_own_logprobs_and_the_stop_text():
    with serving(lambda body: ok(answer())) as server:
        (completion,), stats = ask(server.url, make_request(stop=("\n",), temperature=0.7))

    body = server.bodies[0]
    assert (body["model"], body["prompt"], body["max_tokens"], body["n"]) == ("m", [1, 2, 3], 4, 1)
    assert (body["temperature"], body["logprobs"], body["return_token_ids"]) == (0.7, 0, True)
    assert (body["stop"], body["include_stop_str_in_output"]) == (["\n"], True)
    assert completion.samples == (Sample((7, 8), "4\n", (-0.5, -0.25), "stop"),)
    assert (completion.num_prompt_tokens, completion.num_cached_tokens, completion.from_store) == (3, 2, False)
    assert (stats.num_requests, stats.prompt_tokens, stats.cached_tokens, stats.completion_tokens) == (1, 3, 2, 2)


def test_a_regular_expression_is_sent_as_the_engines_grammar_and_only_where_there_is_one():
    with serving(lambda body: ok(answer())) as server:
        ask(server.url, make_request(regex="[0-9]"), make_request(seed=1))

    grammars = [body.get("structured_outputs") for body in server.bodies]
    assert sorted(grammars, key=str) == [None, {"regex": "[0-9]"}]


def test_neighbouring_seeds_reach_the_engine_far_apart():
    with serving(lambda body: ok(answer())) as server:
        ask(server.url, make_request(seed=1), make_request(seed=2))

    first, second = (body["seed"] for body in server.bodies)
    assert abs(first - second) > 1000


def test_a_stored_response_needs_no_server(tmp_path: Path):
    with ResponseStore(tmp_path / "store.sqlite") as store:
        with serving(lambda body: ok(answer())) as server:
            (first,), _ = ask(server.url, make_request(), store=store)
        (second,), stats = ask(server.url, make_request(), store=store)

    assert second.samples == first.samples
    assert (second.from_store, stats.num_from_store, stats.completion_tokens) == (True, 1, 0)


def test_identical_requests_in_flight_are_sent_once():
    def slowly(body: dict) -> Reply:
        time.sleep(0.2)
        return ok(answer())

    with serving(slowly) as server:
        outcomes, stats = ask(server.url, *[make_request()] * 5)

    assert len(server.bodies) == 1
    assert outcomes == [outcomes[0]] * 5
    assert (stats.num_requests, stats.num_shared, stats.completion_tokens) == (5, 4, 2)


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"[]",
        b"null",
        json.dumps({"choices": []}).encode(),
        json.dumps({"choices": "none", "usage": {}}).encode(),
        json.dumps(answer(text=None)).encode(),
        json.dumps(answer(token_ids=["7", "8"])).encode(),
        json.dumps(answer(token_ids=[7])).encode(),
        json.dumps(answer(token_ids=[7, -1])).encode(),
        json.dumps(answer(token_ids=None)).encode(),
        json.dumps(answer(logprobs=None)).encode(),
        json.dumps(answer(logprobs={"token_logprobs": [None, 0.0]})).encode(),
        json.dumps(answer(logprobs={"token_logprobs": [float("nan"), 0.0]})).encode(),
        json.dumps(answer(finish_reason="abort")).encode(),
        json.dumps({"choices": answer()["choices"], "usage": None}).encode(),
    ],
)
def test_an_answer_of_the_wrong_shape_is_a_server_error(content: bytes):
    with serving(lambda body: (200, content)) as server:
        (error,), stats = ask(server.url, make_request())

    assert type(error) is ServerError
    assert error.request_id == make_request().request_id("d")
    assert stats.num_errors == 1


def test_text_is_encoded_again_for_a_server_without_token_ids_when_the_count_agrees():
    with serving(lambda body: ok(answer(token_ids=None))) as server:
        (completion,), _ = ask(server.url, make_request(), encode=lambda text: [ord(c) for c in text])

    assert completion.samples[0].token_ids == (52, 10)


def test_a_context_that_is_too_long_is_refused_here_or_by_the_server():
    message = json.dumps({"error": {"message": "This model's maximum context length is 8 tokens.", "code": 400}})
    with serving(lambda body: (400, message.encode())) as server:
        (local,), _ = ask(server.url, make_request(), max_model_len=6)
        assert server.bodies == []
        (remote,), _ = ask(server.url, make_request())

    assert type(local) is ContextLengthError
    assert "3 tokens and up to 4 more were asked for; the context holds 6" in str(local)
    assert type(remote) is ContextLengthError
    assert "maximum context length is 8" in str(remote)


def test_other_statuses_are_server_errors_with_the_servers_words():
    with serving(lambda body: (404, b'{"error": {"message": "The model m does not exist"}}')) as server:
        (error,), _ = ask(server.url, make_request())

    assert type(error) is ServerError
    assert "status 404: The model m does not exist" in str(error)

    with serving(lambda body: (500, b'{"error": {"message": "no \\ud800 here"}}')) as server:
        (error,), _ = ask(server.url, make_request())
    assert "status 500: no ? here" in str(error)  # the words become a row, and half a surrogate pair fits into none


def test_a_broken_connection_and_a_busy_server_are_tried_again():
    replies: list[Reply | None] = [None, (503, b"busy"), ok(answer())]

    with serving(lambda body: replies.pop(0)) as server:
        (completion,), stats = ask(server.url, make_request())

    assert isinstance(completion, Completion)
    assert (len(server.bodies), stats.num_retries, stats.num_errors) == (3, 2, 0)


def test_a_late_answer_is_a_timeout():
    with serving(lambda body: time.sleep(0.8)) as server:
        (error,), _ = ask(server.url, make_request(), request_timeout_s=0.2)

    assert type(error) is RequestTimeoutError
    assert "within 0.2 s" in str(error)


def test_when_nobody_listens_all_requests_fail_after_one_retry_window():
    with serving(lambda body: ok(answer())) as server:
        url = server.url
    started = time.monotonic()
    outcomes, stats = ask(url, *[make_request(seed=i) for i in range(40)], retry_window_s=0.5)

    assert {type(outcome) for outcome in outcomes} == {EngineDeadError}
    assert time.monotonic() - started < 3
    assert stats.num_errors == 40


def test_a_diagnosed_death_closes_the_breaker_without_waiting():
    with serving(lambda body: ok(answer())) as server:
        url = server.url
    started = time.monotonic()
    (error,), _ = ask(url, make_request(), retry_window_s=60.0, diagnose=lambda: "killed by SIGKILL")

    assert type(error) is EngineDeadError
    assert str(error) == "killed by SIGKILL"
    assert time.monotonic() - started < 2


def test_a_server_that_reports_a_dead_engine_closes_the_breaker():
    message = b'{"error": {"message": "EngineCore encountered an issue. See stack trace"}}'
    with serving(lambda body: (500, message)) as server:
        outcomes, _ = ask(server.url, *[make_request(seed=i) for i in range(30)])

    assert {type(outcome) for outcome in outcomes} == {EngineDeadError}
    assert len(server.bodies) <= 8


def test_one_failing_request_does_not_disturb_its_siblings():
    with serving(lambda body: (400, b"{}") if body["prompt"] == [9] else ok(answer())) as server:
        outcomes, stats = ask(server.url, make_request((1,)), make_request((9,)), make_request((2,)))

    assert [isinstance(outcome, RequestError) for outcome in outcomes] == [False, True, False]
    assert (stats.num_requests, stats.num_errors) == (3, 1)


def test_a_cancelled_request_leaves_its_twin_running():
    def slowly(body: dict) -> Reply:
        time.sleep(0.3)
        return ok(answer())

    async def run(url: str) -> Completion:
        async with open_client(
            [Endpoint(url, "m")], "d", None, max_in_flight=4, patience=Patience(5.0), stats=UsageStats()
        ) as client:
            first = asyncio.create_task(client.generate(make_request()))
            second = asyncio.create_task(client.generate(make_request()))
            await asyncio.sleep(0.1)
            first.cancel()
            return await second

    with serving(slowly) as server:
        assert asyncio.run(run(server.url)).samples[0].text == "4\n"


def test_a_session_by_url_uses_the_served_name_and_the_key(make_settings, tiny_model, monkeypatch):
    models = ok({"data": [{"id": "their-model", "max_model_len": 64}]})
    monkeypatch.setenv("MY_KEY", "secret")

    async def run(url: str) -> tuple[str, int, Completion]:
        engine = {"mode": "url", "url": f"{url}/v1", "api_key_env": "MY_KEY", "served_model_name": "their-model"}
        settings = make_settings(tiny_model, **engine)
        async with generate_session(settings, run_id="r") as session:
            return session.model_id, session.max_model_len, await session.generate(make_request())

    with serving(lambda body: ok(answer()), models) as server:
        model_id, limit, completion = asyncio.run(run(server.url))

    assert (model_id, limit, completion.samples[0].token_ids) == ("their-model", 64, (7, 8))
    assert server.bodies[0]["model"] == "their-model"
    assert server.headers[0]["Authorization"] == "Bearer secret"


def test_another_model_than_the_policy_is_never_asked_for_under_the_policys_served_name(make_settings, tiny_model):
    models = ok({"data": [{"id": "their-policy"}, {"id": "starter"}]})

    async def run(url: str) -> str:
        settings = make_settings(tiny_model, mode="url", url=url, served_model_name="their-policy")
        async with generate_session(settings, model="starter", run_id="r") as session:
            return session.model_id

    with serving(lambda body: ok(answer()), models) as server:
        assert asyncio.run(run(server.url)) == "starter"


def test_new_weights_behind_the_same_address_are_asked_anew(make_settings, tiny_model, tmp_path):
    """The policy's folder says which weights the address serves; without it in the key the old answers would come."""
    folder = tmp_path / "policy"
    shutil.copytree(tiny_model, folder)
    models = ok({"data": [{"id": "policy", "max_model_len": 64}]})

    async def ask_twice(url: str) -> tuple[str, list[bool]]:
        async with generate_session(make_settings(folder, mode="url", url=url), run_id="r") as session:
            return session.model_digest, [(await session.generate(make_request())).from_store for _ in range(2)]

    with serving(lambda body: ok(answer()), models) as server:
        before = asyncio.run(ask_twice(server.url))
        again = asyncio.run(ask_twice(server.url))
        (weights,) = folder.glob("*.safetensors")
        weights.write_bytes(weights.read_bytes()[::-1])
        after = asyncio.run(ask_twice(server.url))

    assert before[0] == again[0] != after[0]
    assert [before[1], again[1], after[1]] == [[False, True], [True, True], [False, True]]


def test_a_served_model_that_is_not_the_policy_is_named(make_settings, tiny_model):
    models = ok({"data": [{"id": "another"}]})  # also where it is the only one: its tokens would be others

    async def run(url: str) -> None:
        async with generate_session(make_settings(tiny_model, mode="url", url=url), run_id="r"):
            pass

    with serving(lambda body: ok(answer()), models) as server, pytest.raises(ConfigError, match="offers another, and"):
        asyncio.run(run(server.url))


@pytest.mark.parametrize("models", [ok([]), ok({"data": [{}]}), (200, b"no")])
def test_a_list_of_models_of_the_wrong_shape_is_a_server_error(models: Reply):
    with serving(lambda body: None, models) as server, pytest.raises(ServerError, match="does not list its models"):
        asyncio.run(served_models(server.url, None))


def test_a_server_that_limits_the_rate_is_alive():
    """Its patience may last longer than the window after which silence means death."""
    replies: list[Reply] = [(429, b"slow down")] * 3 + [ok(answer())]

    with serving(lambda body: replies.pop(0)) as server:
        (completion,), stats = ask(server.url, make_request(), retry_window_s=0.05)

    assert isinstance(completion, Completion)
    assert stats.num_retries == 3


def test_a_server_that_only_limits_the_rate_is_a_timeout_in_the_end():
    with serving(lambda body: (429, b"slow down")) as server:
        (error,), _ = ask(server.url, make_request(), request_timeout_s=0.4)

    assert type(error) is RequestTimeoutError


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, json.dumps(answer(logprobs={"token_logprobs": [-(10**400), -0.25]})).encode()]
)
def test_a_hostile_answer_is_a_server_error(body: bytes):
    with serving(lambda _: (200, body)) as server:
        (error,), _ = ask(server.url, make_request())

    assert type(error) is ServerError


def test_requests_for_many_samples_take_more_of_the_room():
    """8 samples may be asked for at once: two requests for 4, or one for more than 8."""
    lock, num_open, most = threading.Lock(), 0, 0

    def reply(body: dict) -> Reply:
        nonlocal num_open, most
        with lock:
            num_open += 1
            most = max(most, num_open)
        time.sleep(0.05)
        with lock:
            num_open -= 1
        return ok({**answer(), "choices": answer()["choices"] * body["n"]})

    with serving(reply) as server:
        completions, _ = ask(server.url, *(make_request(seed=seed, n=4) for seed in range(6)))
        (large,), _ = ask(server.url, make_request(n=20))

    assert most <= 2
    assert [len(completion.samples) for completion in [*completions, large]] == [4] * 6 + [20]
