"""How busy does the search keep the engine? Output tokens per second, over those of raw generation.

Search: PUCT over `--trees` trees, and independent samples of as many problems, through the whole driver (prompts,
grading, tables) with a response store on disk. Raw: the very same prompts, limits, stops and numbers of samples, as
they were recorded, sent to the same server in the same order from ready-made bytes, `--connections` requests at once,
nothing read of the answers but their end; with fresh seeds and in a part of the prefix cache of their own
(`cache_salt`), so that neither run profits from the other. Search and raw in turn, `--repeats` times; the ratio is
the median of the ratios of each turn. `engine full`: share of the time in which the search asked for as many samples
as the engine runs at once (`engine.max_num_seqs`); in raw generation that is nearly always so.

Prefix-cache hits on sibling requests: of the valuations of the children of one expansion. What siblings share is the
path to their parent; the share is cached tokens over the shared tokens that fill whole cache blocks (only those can
hit), and, beside it, over all shared tokens.

    python -m tests.benchmarks busy --trees 256 --repeats 3

With `--cache-blocks` the engine gets a key-value cache of so few blocks that it cannot hold what it is asked for: raw
generation then makes it set sequences aside and compute them again, and the ratio says what the driver's limit, which
follows the engine's preemptions, is worth. That result is called `overload`.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import aiohttp
import pyarrow as pa

from assets.resources import prompts_of
from pipelines.config import Settings, load_settings
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.engine_flags import CPU_BLOCK_SIZE
from pipelines.inference.engine_metrics import parse_metrics
from pipelines.inference.engine_service import EngineHandle, ensure_engine, stop_engine
from pipelines.inference.errors import EngineDeadError
from pipelines.inference.http_client import completion_body
from pipelines.inference.session import Session, context_length, generate_session, model_folder
from pipelines.inference.types import Completion, GenerationRequest
from pipelines.problems import load_problems
from pipelines.rollouts import choose_problems, sample_rollouts, search_rollouts
from tests.benchmarks import record

RUN_ID = "benchmark-busy"
LOOK_S = 0.02
WARM_UP_PROBLEMS = 16


@dataclass(frozen=True)
class Run:
    """One measured run."""

    output_tokens: int
    seconds: float
    client_cpu_s: float  # of this process
    full_share: float | None = None  # of the time: as many samples were asked for as the engine runs at once
    num_preemptions: int = 0  # sequences that the engine set aside

    @property
    def tokens_per_s(self) -> float:
        return self.output_tokens / self.seconds


@dataclass
class Recording:
    """A session that notes what is asked and what came back."""

    session: Session
    asked: list[tuple[GenerationRequest, Completion | None]] = field(default_factory=list)  # in the order of asking

    def __post_init__(self) -> None:
        self.num_samples_asked = 0  # and not yet answered
        self.tokenizer = self.session.tokenizer
        self.model_id, self.model_digest = self.session.model_id, self.session.model_digest

    async def generate(self, request: GenerationRequest) -> Completion:
        place = len(self.asked)
        self.asked.append((request, None))
        self.num_samples_asked += request.sampling.n
        try:
            completion = await self.session.generate(request)
        finally:
            self.num_samples_asked -= request.sampling.n
        self.asked[place] = (request, completion)
        return completion

    async def watch(self, max_num_seqs: int, looks: list[bool]) -> None:
        """Look again and again whether the engine has enough to do."""
        while True:
            await asyncio.sleep(LOOK_S)
            looks.append(self.num_samples_asked >= max_num_seqs)


Work = Callable[[Recording, pa.Table, int], Awaitable[object]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trees", type=int, default=256, help="problems of the search and of the samples")
    parser.add_argument("--simulations", type=int, default=16, help="per tree")
    parser.add_argument("--group-size", type=int, default=16, help="independent samples per problem")
    parser.add_argument("--repeats", type=int, default=3, help="turns of search and raw generation")
    parser.add_argument("--cache-blocks", type=int, help="blocks of the engine's cache; default: as it comes")
    parser.add_argument("--connections", type=int, default=256, help="requests at once in raw generation")


def run(arguments: argparse.Namespace) -> None:
    """Both kinds of work on one engine."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(arguments.config)
        paths = settings.paths.model_copy(update={"responses": f"{folder}/responses", "state": f"{folder}/state"})
        settings = settings.model_copy(update={"paths": paths})
        if arguments.cache_blocks is not None:
            flags = (*settings.engine.extra_args, "--num-gpu-blocks-override", str(arguments.cache_blocks))
            settings = settings.model_copy(update={"engine": settings.engine.model_copy(update={"extra_args": flags})})
        try:
            engine = ensure_engine(settings, model_folder(settings.policy.model), run_id=RUN_ID)
            result = asyncio.run(measure(settings, engine, arguments))
        finally:
            stop_engine(settings, RUN_ID)
    name = "busy" if arguments.cache_blocks is None else "overload"
    record.save(name, arguments.out, result, as_markdown(result))


async def measure(settings: Settings, engine: EngineHandle, arguments: argparse.Namespace) -> dict:
    """Search and samples, each in turn with raw generation, after one unmeasured search."""
    problems = load_problems(settings)
    config = settings.rollouts.model_copy(
        update={"num_simulations": arguments.simulations, "group_size": arguments.group_size}
    )
    known = {
        "prompts": prompts_of(settings), "grade": graders_of(settings), "extract_answer": extract_answer,
        "max_model_len": context_length(settings, model_folder(settings.policy.model)),
    }  # fmt: skip

    async def search(session: Recording, chosen: pa.Table, turn: int) -> object:
        return await search_rollouts(chosen, session, config=config, night=f"turn-{turn}", **known)

    async def sample(session: Recording, chosen: pa.Table, turn: int) -> object:
        return await sample_rollouts(chosen, session, config=config, night=f"turn-{turn}", **known)

    async def take_turn(work: Work, turn: int, num_problems: int = arguments.trees) -> tuple[Run, Run, dict]:
        chosen = choose_problems(problems, num_problems, night=f"turn-{turn}", seed=0)
        async with generate_session(settings, run_id=RUN_ID) as session:
            recording, looks = Recording(session), []
            watching = asyncio.create_task(recording.watch(settings.engine.max_num_seqs, looks))
            ours = await _timed(engine, work(recording, chosen, turn), lambda _: session.stats.completion_tokens)
            watching.cancel()
            ours = replace(ours, full_share=sum(looks) / max(len(looks), 1))
        raw = await _raw(engine, [request for request, _ in recording.asked], turn, arguments.connections)
        record.say(f"{work.__name__}: {ours.tokens_per_s:.0f} tokens/s, raw {raw.tokens_per_s:.0f}, {ours}, {raw}")
        return ours, raw, cache_hits(recording.asked)

    await take_turn(search, 0, WARM_UP_PROBLEMS)
    result = record.provenance() | vars(arguments)
    result = {name: value for name, value in result.items() if name not in ("out", "config", "benchmark")}
    for name, work in (("puct", search), ("best_of_n", sample)):
        turns = [await take_turn(work, 1 + turn) for turn in range(arguments.repeats)]
        result[name] = _summary(turns)
    return result


async def _timed(engine: EngineHandle, work: Awaitable[object], num_tokens: Callable[[object], int]) -> Run:
    num_before = await _num_preemptions(engine)
    started, cpu = time.perf_counter(), time.process_time()
    made = await work
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    num_preemptions = await _num_preemptions(engine) - num_before
    return Run(num_tokens(made), seconds, cpu_s, num_preemptions=num_preemptions)


async def _num_preemptions(engine: EngineHandle) -> int:
    """Since the engine's start."""
    async with aiohttp.ClientSession() as http, http.get(f"{engine.url}/metrics") as response:
        metrics = parse_metrics(await response.text())
    if metrics is None:
        raise EngineDeadError(f"The engine at {engine.url} does not tell its metrics.")
    return metrics.num_preemptions


async def _raw(engine: EngineHandle, requests: Sequence[GenerationRequest], turn: int, connections: int) -> Run:
    bodies = [_body(engine, request, turn) for request in requests]
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=connections)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as http:

        async def send(body: bytes) -> bytes:
            async with http.post(f"{engine.url}/v1/completions", data=body) as response:
                return await response.read()

        return await _timed(engine, asyncio.gather(*map(send, bodies)), _output_tokens)


def _body(engine: EngineHandle, request: GenerationRequest, turn: int) -> bytes:
    fresh = replace(request, seed=request.seed ^ (1 + turn) << 20)
    content = completion_body(fresh, engine.model_name, fresh.request_id("raw"))
    return json.dumps(content | {"cache_salt": f"raw-{turn}"}).encode()


def _output_tokens(answers: Sequence[bytes]) -> int:
    return sum(json.loads(answer)["usage"]["completion_tokens"] for answer in answers)


def cache_hits(asked: Sequence[tuple[GenerationRequest, Completion]]) -> dict[str, int]:
    """Tokens of the valuations of siblings: cached, shared, and shared in whole blocks."""
    expanded = {request.prompt_token_ids for request, _ in asked if request.purpose == "expand"}
    hits = {"cached": 0, "shared": 0, "shared_in_blocks": 0}
    for request, completion in asked:
        if request.purpose != "evaluate" or completion is None:
            continue
        shared = _longest_prefix(request.prompt_token_ids, expanded)
        hits["cached"] += min(completion.num_cached_tokens, shared // CPU_BLOCK_SIZE * CPU_BLOCK_SIZE)
        hits["shared"] += shared
        hits["shared_in_blocks"] += shared // CPU_BLOCK_SIZE * CPU_BLOCK_SIZE
    return hits


def _longest_prefix(prompt: tuple[int, ...], expanded: set[tuple[int, ...]]) -> int:
    return next(length for length in range(len(prompt) - 1, -1, -1) if not length or prompt[:length] in expanded)


def _summary(turns: Sequence[tuple[Run, Run, dict]]) -> dict:
    hits = {name: sum(hit[name] for _, _, hit in turns) for name in turns[0][2]}
    return {
        "tokens_per_s": statistics.median(ours.tokens_per_s for ours, _, _ in turns),
        "raw_tokens_per_s": statistics.median(raw.tokens_per_s for _, raw, _ in turns),
        "ratio": statistics.median(ours.tokens_per_s / raw.tokens_per_s for ours, raw, _ in turns),
        "ratios": [ours.tokens_per_s / raw.tokens_per_s for ours, raw, _ in turns],
        "output_tokens": [[ours.output_tokens, raw.output_tokens] for ours, raw, _ in turns],
        "seconds": [[ours.seconds, raw.seconds] for ours, raw, _ in turns],
        "client_cpu_share": statistics.median(ours.client_cpu_s / ours.seconds for ours, _, _ in turns),
        "engine_full_share": statistics.median(ours.full_share for ours, _, _ in turns),
        "preemptions": [[ours.num_preemptions, raw.num_preemptions] for ours, raw, _ in turns],
        "cache_hits": hits,
    }


def as_markdown(result: dict) -> list[str]:
    rows = []
    for name in ("puct", "best_of_n"):
        one = result[name]
        rows.append([
            name, f"{one['tokens_per_s']:,.0f}", f"{one['raw_tokens_per_s']:,.0f}", f"**{one['ratio']:.3f}**",
            " ".join(f"{ratio:.3f}" for ratio in one["ratios"]), f"{one['client_cpu_share']:.2f}",
            f"{one['engine_full_share']:.2f}", " ".join(f"{ours} / {raw}" for ours, raw in one["preemptions"]),
        ])  # fmt: skip
    hits = result["puct"]["cache_hits"]
    in_blocks = hits["cached"] / max(hits["shared_in_blocks"], 1)
    header = ["", "tokens/s", "raw tokens/s", "ratio", "per turn", "client's share of a core", "engine full"]
    header += ["preemptions, ours / raw"]
    lines = [*record.heading(result), *record.table(header, rows), ""]
    lines += [f"Prefix-cache hits on sibling requests: **{in_blocks:.3f}** of the shared tokens that fill whole blocks"]
    return [*lines, f"of {CPU_BLOCK_SIZE} tokens, {hits['cached'] / max(hits['shared'], 1):.3f} of all shared tokens."]
