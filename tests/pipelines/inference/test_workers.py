"""Several servers of one model, as real local HTTP servers that die, hang and come back."""

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest
from fake_server import Reply, answer, ok, serving

from pipelines.errors import ConfigError
from pipelines.inference import worker as worker_module
from pipelines.inference import workers as workers_module
from pipelines.inference.adaptive_limit import UsualPace
from pipelines.inference.engine_metrics import EngineMetrics
from pipelines.inference.errors import EngineDeadError, EngineStartError, ServerError
from pipelines.inference.http_client import Client, open_client
from pipelines.inference.session import generate_session
from pipelines.inference.types import Completion, GenerationRequest, Sampling, UsageStats
from pipelines.inference.worker import Endpoint, Look
from pipelines.inference.workers import Patience, choose, restart_pause_s, summary

MODELS = ok({"data": [{"id": "m", "max_model_len": 64}]})
COUNTERS = 'vllm:num_requests_waiting{{engine="0"}} 0\nvllm:generation_tokens_total{{engine="0"}} {}\n'


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rhythm, five times as fast."""
    monkeypatch.setattr(workers_module, "LOOK_S", 0.2)
    monkeypatch.setattr(worker_module, "LONGEST_LOOK_S", 0.4)
    monkeypatch.setattr(workers_module, "PROBE_S", 0.2)


def make_request(number: int = 0, seed: int = 0) -> GenerationRequest:
    """A request of problem `number`, whose prompt begins with that token."""
    return GenerationRequest((number, 2, 3), Sampling(max_tokens=4), seed, "sample", f"p{number}")


def with_client(
    endpoints: list[Endpoint], work: Callable[[Client], Awaitable[object]], **patience: float
) -> tuple[object, UsageStats]:
    """The result of `work(client)` and what was counted."""
    stats = UsageStats()

    async def run() -> object:
        given = Patience(**{"request_timeout_s": 10.0, "retry_window_s": 1.0, **patience})
        async with open_client(endpoints, "d", None, max_in_flight=8, patience=given, stats=stats) as client:
            return await work(client)

    return asyncio.run(run()), stats


def prompts_of(bodies: list[dict]) -> set[int]:
    """First tokens of the real requests; a probe asks for one token."""
    return {body["prompt"][0] for body in bodies if body["max_tokens"] > 1}


def test_every_problem_has_one_home_and_a_dead_worker_moves_only_its_own():
    problems = [f"p{i}" for i in range(3000)]
    three = dict.fromkeys(("a", "b", "c"), 0)
    homes = {problem: choose(problem, three) for problem in problems}
    without_b = {problem: choose(problem, {"a": 0, "c": 0}) for problem in problems}

    assert all(900 < count < 1100 for count in Counter(homes.values()).values())
    assert {problem for problem in problems if homes[problem] != without_b[problem]} == {
        problem for problem in problems if homes[problem] == "b"
    }


def test_a_home_that_is_far_busier_sends_its_overflow_to_the_least_busy():
    home = choose("p", {"a": 0, "b": 0})
    other = {"a": "b", "b": "a"}[home]

    assert choose("p", {home: 36, other: 10}) == home  # 36 = 2 * 10 + 16
    assert choose("p", {home: 37, other: 10}) == other


def test_requests_of_a_problem_go_to_one_server_and_all_servers_work():
    with serving(lambda _: ok(answer())) as first, serving(lambda _: ok(answer())) as second:

        async def work(client: Client) -> None:
            for seed in range(3):
                await asyncio.gather(*(client.generate(make_request(i, seed)) for i in range(20)))

        with_client([Endpoint(first.url, "m"), Endpoint(second.url, "m")], work)

    assert len(first.bodies) + len(second.bodies) == 60
    assert prompts_of(first.bodies) & prompts_of(second.bodies) == set()
    assert len(prompts_of(first.bodies)) > 3
    assert len(prompts_of(second.bodies)) > 3


def test_a_dead_server_costs_no_request_and_is_taken_back_when_it_answers_again():
    with ExitStack() as stack:
        first = stack.enter_context(serving(lambda _: ok(answer()), MODELS))
        down = ExitStack()
        second = down.enter_context(serving(lambda _: ok(answer()), MODELS))

        async def work(client: Client) -> tuple[list[Completion], int]:
            completions = [*await asyncio.gather(*(client.generate(make_request(i)) for i in range(20)))]
            await asyncio.to_thread(down.close)
            for seed in range(1, 8):
                completions += await asyncio.gather(*(client.generate(make_request(i, seed)) for i in range(20)))
                await asyncio.sleep(0.3)  # the retry window of 1 s passes: silent becomes dead
            again = stack.enter_context(serving(lambda _: ok(answer()), MODELS, port=second.port))
            for seed in range(8, 28):
                completions += await asyncio.gather(*(client.generate(make_request(i, seed)) for i in range(20)))
                if prompts_of(again.bodies):
                    break
                await asyncio.sleep(0.2)
            return completions, len(again.bodies)

        endpoints = [Endpoint(first.url, "m"), Endpoint(second.url, "m")]
        (completions, num_again), stats = with_client(endpoints, work)

    assert all(isinstance(completion, Completion) for completion in completions)
    assert (stats.num_errors, stats.num_engine_deaths) == (0, 1)
    assert num_again > 1  # the probe and at least one problem that came home


def test_a_server_that_returns_with_another_model_is_not_taken_back():
    with ExitStack() as stack:
        first = stack.enter_context(serving(lambda _: ok(answer()), MODELS))
        another = ok({"data": [{"id": "another", "max_model_len": 64}]})
        second = stack.enter_context(serving(lambda _: ok(answer()), another))

        async def work(client: Client) -> None:
            await asyncio.sleep(1.0)
            await asyncio.gather(*(client.generate(make_request(i)) for i in range(20)))

        with_client([Endpoint(first.url, "m"), Endpoint(second.url, "m", unreachable="it was not there")], work)

    assert (len(first.bodies), second.bodies) == (20, [])


def test_only_when_all_servers_are_dead_is_the_engine_dead_and_then_nothing_more_is_sent():
    with serving(lambda _: None) as first, serving(lambda _: None) as second:
        urls = [first.url, second.url]

        def num_sent() -> int:
            return sum(body["max_tokens"] > 1 for body in first.bodies + second.bodies)

        async def work(client: Client) -> list[object]:
            requests = [make_request(i) for i in range(40)]
            outcomes = await asyncio.gather(*(client.generate(one) for one in requests), return_exceptions=True)
            num_before = num_sent()
            with pytest.raises(EngineDeadError):
                await client.generate(make_request(41))
            assert num_sent() == num_before
            return outcomes

        outcomes, stats = with_client([Endpoint(url, "m") for url in urls], work, retry_window_s=0.5)

    assert {type(outcome) for outcome in outcomes} == {EngineDeadError}
    assert all(url in str(outcomes[-1]) for url in urls)
    assert stats.num_engine_deaths == 2


def hanging(hang: threading.Event, released: threading.Event) -> Callable[[dict], Reply]:
    """Answers until `hang` is set, then only when `released` is."""

    def reply(_: dict) -> Reply:
        if hang.is_set():
            released.wait(30)
        return ok(answer())

    return reply


def test_a_server_that_hangs_is_dead_until_it_answers_and_its_requests_go_elsewhere(caplog):
    hang, released = threading.Event(), threading.Event()
    with serving(hanging(hang, released), MODELS) as first, serving(lambda _: ok(answer()), MODELS) as second:
        first.metrics = second.metrics = (200, COUNTERS.format(7).encode())  # they stand still

        async def work(client: Client) -> int:
            await asyncio.gather(*(client.generate(make_request(i)) for i in range(20)))
            hang.set()
            await asyncio.gather(*(client.generate(make_request(i, 1)) for i in range(20)))
            hang.clear()
            released.set()
            num_before = len(first.bodies)
            for seed in range(2, 30):
                await asyncio.gather(*(client.generate(make_request(i, seed)) for i in range(20)))
                if len(first.bodies) > num_before + 2:
                    break
                await asyncio.sleep(0.1)
            return len(first.bodies) - num_before

        endpoints = [Endpoint(first.url, "m", log_tail=lambda: "its last words"), Endpoint(second.url, "m")]
        num_after, stats = with_client(endpoints, work, stall_timeout_s=2.0)

    assert (stats.num_errors, stats.num_engine_deaths) == (0, 1)
    assert num_after > 2
    assert "given no sign of life for" in caplog.text
    assert "its last words" in caplog.text


def test_token_counters_that_move_are_a_sign_of_life():
    """Long completions: nothing is answered for longer than the stall time-out, and the engine is well."""
    done = threading.Event()
    with serving(lambda _: ok(answer()) if done.wait(10) else None, MODELS) as server:

        async def work(client: Client) -> Completion:
            asked = asyncio.create_task(client.generate(make_request()))
            for count in range(30):
                server.metrics = (200, COUNTERS.format(count).encode())
                await asyncio.sleep(0.1)
            done.set()
            return await asked

        completion, stats = with_client(
            [Endpoint(server.url, "m")], work, stall_timeout_s=1.0
        )  # 2 s until the first answer

    assert isinstance(completion, Completion)
    assert stats.num_engine_deaths == 0


def test_silence_alone_kills_no_server_that_tells_no_counters_before_an_answer_is_due():
    """It holds nothing but long answers for three seconds; an answer may take ten."""
    hang, released = threading.Event(), threading.Event()
    with serving(hanging(hang, released), MODELS) as server:

        async def work(client: Client) -> list[Completion]:
            await client.generate(make_request())
            hang.set()
            asyncio.get_running_loop().call_later(3.0, released.set)
            return await asyncio.gather(*(client.generate(make_request(i, 1)) for i in range(4)))

        completions, stats = with_client([Endpoint(server.url, "m")], work, stall_timeout_s=0.5)

    assert len(completions) == 4
    assert (stats.num_engine_deaths, stats.num_retries) == (0, 0)


def test_an_engine_of_the_run_is_started_anew_and_its_requests_wait_for_it():
    with ExitStack() as stack:
        first = stack.enter_context(serving(lambda _: ok(answer())))
        second = stack.enter_context(serving(lambda _: ok(answer())))
        down = stack.enter_context(serving(lambda _: None))
        endpoint = Endpoint(down.url, "m", restart=lambda: second.url, name="worker-0")

        async def work(client: Client) -> list[Completion]:
            return await asyncio.gather(*(client.generate(make_request(i)) for i in range(8)))

        completions, stats = with_client([endpoint], work, retry_window_s=0.3)

    assert len(completions) == len(second.bodies) == 8
    assert (first.bodies, stats.num_engine_deaths, stats.num_errors) == ([], 1, 0)


def test_an_engine_that_cannot_be_started_anew_is_dead_with_the_reason():
    attempts = []

    def refuse() -> str:
        attempts.append("refused")
        raise EngineStartError("its owner is gone")

    with serving(lambda _: None) as down:
        endpoint = Endpoint(down.url, "m", restart=refuse, diagnose=lambda: "killed")

        async def work(client: Client) -> None:
            for seed in range(3):
                with pytest.raises(EngineDeadError, match="its owner is gone"):
                    await client.generate(make_request(seed=seed))

        with_client([endpoint], work)

    assert attempts == ["refused"]  # the next attempt is 10 s away, and no request waits for it


def test_a_request_that_kills_every_engine_is_not_sent_to_all_of_them():
    died = (500, b'{"error": {"message": "EngineCore encountered an issue"}}')
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(lambda _: died)) for _ in range(5)]

        async def work(client: Client) -> None:
            with pytest.raises(ServerError, match="3 engines went away while they had this request"):
                await client.generate(make_request())

        with_client([Endpoint(server.url, "m") for server in servers], work)

    assert sum(len(server.bodies) for server in servers) == 3


def test_a_request_that_a_stopping_server_aborts_is_sent_to_another():
    aborted = ok(answer(finish_reason="abort"))
    with serving(lambda _: aborted, MODELS) as first, serving(lambda _: ok(answer()), MODELS) as second:

        async def work(client: Client) -> list[Completion]:
            return await asyncio.gather(*(client.generate(make_request(i)) for i in range(20)))

        completions, stats = with_client([Endpoint(first.url, "m"), Endpoint(second.url, "m")], work)

    assert {completion.samples[0].finish_reason for completion in completions} == {"stop"}
    assert first.bodies, "some of the 20 problems belong to the first server"
    assert stats.num_errors == 0


def test_a_server_that_drops_connections_for_a_while_is_one_engine_however_often():
    replies: list[Reply | None] = [None] * 4 + [ok(answer())]
    with serving(lambda _: replies.pop(0)) as server:
        completion, stats = with_client(
            [Endpoint(server.url, "m")], lambda client: client.generate(make_request()), retry_window_s=5.0
        )

    assert isinstance(completion, Completion)
    assert (stats.num_retries, stats.num_engine_deaths) == (4, 0)


def test_a_server_that_limits_the_rate_costs_patience_and_no_request():
    num_refused = 0
    lock = threading.Lock()

    def reply(_: dict) -> Reply:
        nonlocal num_refused
        with lock:
            num_refused += 1
            return (429, b"slow down") if num_refused <= 10 else ok(answer())

    with serving(reply) as first, serving(lambda _: ok(answer())) as second:

        async def work(client: Client) -> list[Completion]:
            return await asyncio.gather(*(client.generate(make_request(i)) for i in range(40)))

        completions, stats = with_client([Endpoint(first.url, "m"), Endpoint(second.url, "m")], work)

    assert len(completions) == 40
    assert (stats.num_errors, stats.num_engine_deaths, stats.num_retries) == (0, 0, 10)


def look(**changes: object) -> Look:
    fields = {
        "num_refusals": 0, "num_answers": 0, "answer_s": 0.0, "num_preemptions": 0, "metrics": None,
        "has_metrics": False,
    }  # fmt: skip
    return Look(**(fields | changes))


def test_the_health_of_all_workers_is_summed_and_the_fullest_cache_counts():
    pages = [EngineMetrics(3, 9, 0.2, 100), EngineMetrics(4, 9, 0.6, 100)]
    looks = [look(metrics=page, has_metrics=True, num_preemptions=1, num_refusals=2) for page in pages]
    health = summary(looks, UsualPace(), was_full=True)

    assert (health.num_waiting, health.cache_usage, health.num_preemptions, health.num_refusals) == (7, 0.6, 2, 4)
    assert summary([look(has_metrics=True)], UsualPace(), True).num_waiting == 0  # it tells, and nothing is new
    assert summary([look()], UsualPace(), True).num_waiting is None
    assert summary([look(num_answers=4, answer_s=2.0)], UsualPace(), True).slowness == 1.0


def test_restarts_that_follow_each_other_wait_longer_and_longer():
    assert [restart_pause_s(num_recent) for num_recent in (0, 1, 2, 3, 7, 100)] == [0, 10, 20, 40, 600, 600]


def in_url_session(make_settings, tiny_model, urls: list[str]) -> tuple[str, int | None]:
    """Digest and context of a session with these servers."""

    async def run() -> tuple[str, int | None]:
        settings = make_settings(tiny_model, mode="url", urls=urls, served_model_name="m")
        async with generate_session(settings, run_id="r") as session:
            await session.generate(make_request())
            return session.model_digest, session.max_model_len

    return asyncio.run(run())


def test_servers_of_different_models_or_contexts_are_refused(make_settings, tiny_model):
    shorter = ok({"data": [{"id": "m", "max_model_len": 32}]})
    another = ok({"data": [{"id": "another", "max_model_len": 64}]})
    with ExitStack() as stack:
        urls = [
            stack.enter_context(serving(lambda _: ok(answer()), models)).url for models in (MODELS, shorter, another)
        ]

        with pytest.raises(
            ConfigError, match=f"{urls[0]} serves m with 64 tokens of context; {urls[1]} serves m with 32"
        ):
            in_url_session(make_settings, tiny_model, urls[:2])
        with pytest.raises(ConfigError, match=f"The server at {urls[2]} offers another, and 'm' is none of them"):
            in_url_session(make_settings, tiny_model, [urls[0], urls[2]])


def test_a_session_begins_without_a_server_that_is_not_there_but_not_without_all(make_settings, tiny_model, caplog):
    with serving(lambda _: ok(answer()), MODELS) as gone:
        pass
    with serving(lambda _: ok(answer()), MODELS) as server:
        digest, limit = in_url_session(make_settings, tiny_model, [server.url, gone.url])
        alone, _ = in_url_session(make_settings, tiny_model, [server.url])

    assert f"begins without one of engine.urls: No server answers at {gone.url}" in caplog.text
    assert (digest, limit) == (alone, 64)  # a further server does not make it another model
    with pytest.raises(EngineDeadError, match="No server answers"):
        in_url_session(make_settings, tiny_model, [gone.url, server.url])
