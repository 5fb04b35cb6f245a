"""problems, preference_pairs -> pair_judgments: the policy as a judge of tonight's pairs, asked in both orders.

A judge that follows the position and not the solution labels pairs by chance: its flips are counted every night
(`sql/judges/position_consistency.sql`), and so is how often it prefers the side that was chosen. A style whose models
read words is asked with the template `judge_pair` and answers with a line `#### first` or `#### second`; a policy that
was taught verdicts in place (the starter) reads both solutions in one context (`judges/pair_reader.py`).

Invariants: two rows per judged pair, one for each order, also where a request failed; an answer without a verdict is a
row without one and never a tie; which pairs are judged is decided by a hash of their ids.
"""

import re
import time
from collections.abc import Awaitable, Callable, Mapping

import pyarrow as pa

from pipelines.config import PairJudgmentsConfig
from pipelines.inference.errors import RequestError
from pipelines.judges.pair_reader import PairReader, labels, likeliest
from pipelines.problem_rows import is_engines
from pipelines.reasoning.assembly import describe_error
from pipelines.reasoning.prompts import PromptStyle
from pipelines.reasoning.propose import GenerationSession
from pipelines.reasoning.refine import text_request
from pipelines.records import ProgressFn, no_progress, stable_seed
from pipelines.rollouts import check_error_rate
from pipelines.rows import rows_to_table
from pipelines.search.flight import run_in_flight
from pipelines.warehouse import Warehouse

STAGE = "pair_judgments"
TEMPLATE = "judge_pair"
PAIRS_IN_FLIGHT = 64
CHOSEN, REJECTED = "chosen", "rejected"
ORDERS = ((CHOSEN, REJECTED), (REJECTED, CHOSEN))
VERDICT = re.compile(r"^\s*####\s*(first|second)\W*$", re.MULTILINE | re.IGNORECASE)

Row = Mapping[str, object]
JudgeFn = Callable[[Row], Awaitable[list[dict[str, object]]]]
"""`judge(pair)`: what is said in either order of `ORDERS`."""


async def judge_pairs(
    problems: pa.Table,
    pairs: pa.Table,
    session: GenerationSession,
    prompts: PromptStyle,
    config: PairJudgmentsConfig,
    *,
    night: str,
    max_model_len: int | None = None,
    max_error_fraction: float = 0.02,
    on_progress: ProgressFn = no_progress,
) -> pa.Table:
    """Rows of `pair_judgments` of at most `config.num_pairs` pairs, in the order of their ids.

    `max_model_len`: tokens of the context, None: not known. Raises ConfigError where the policy has neither the
    template nor verdict tokens, and ErrorRateError when more than `max_error_fraction` of the pairs failed.
    """
    with Warehouse.over({"problems": problems, "preference_pairs": pairs}) as warehouse:
        drawn = warehouse.named(
            "pair_judgments/drawn_pairs", num_pairs=config.num_pairs, separator=prompts.step_separator
        ).to_pylist()
    if not drawn:
        return rows_to_table("pair_judgments", [])
    judge = (
        _by_words(session, prompts, config, max_model_len)
        if TEMPLATE in prompts.roles
        else _in_place(prompts, PairReader(session, prompts.step_separator))
    )
    rows: list[dict[str, object]] = []
    num_done = num_failed = 0
    started = time.monotonic()

    async def work(pair: Row) -> list[dict[str, object]]:
        nonlocal num_done, num_failed
        try:
            said = await judge(pair)
        except RequestError as error:
            said = [{"error": describe_error(error)} for _ in ORDERS]
            num_failed += is_engines(error)
        num_done += 1
        rate = num_done / max(time.monotonic() - started, 1e-9)
        on_progress(STAGE, num_done, len(drawn), {"pairs_per_s": rate, "num_errors": float(num_failed)})
        common = {name: pair[name] for name in ("pair_id", "problem_id", "method")}
        common |= {"judge": session.model_id, "judge_version": session.model_digest, "night": night}
        return [common | {"shown_first": first} | one for (first, _), one in zip(ORDERS, said, strict=True)]

    await run_in_flight(work, drawn, PAIRS_IN_FLIGHT, rows.extend)
    check_error_rate(num_failed, len(drawn), max_error_fraction, STAGE)
    return rows_to_table("pair_judgments", rows)


def _in_place(prompts: PromptStyle, reader: PairReader) -> JudgeFn:
    async def judge(pair: Row) -> list[dict[str, object]]:
        prompt = prompts.verify_prompt({"prompt": pair["statement"]})
        read = {side: await reader.alone(prompt, pair[side], pair["given"]) for side in (CHOSEN, REJECTED)}
        said = []
        for first, second in ORDERS:
            found = labels(read[first].p, await reader.after(prompt, read[first], read[second]))
            said.append({"verdict": likeliest(found), **{f"p_{label}": p for label, p in found.items()}})
        return said

    return judge


def _by_words(
    session: GenerationSession, prompts: PromptStyle, config: PairJudgmentsConfig, max_model_len: int | None
) -> JudgeFn:
    async def judge(pair: Row) -> list[dict[str, object]]:
        texts = {side: prompts.step_separator.join([*pair["given"], *pair[side]]) for side in (CHOSEN, REJECTED)}
        said = []
        for first, second in ORDERS:
            prompt = prompts.role(TEMPLATE, prompt=pair["statement"], first=texts[first], second=texts[second])
            request = text_request(
                prompt, prompts, session.tokenizer, seed=stable_seed(config.seed, pair["pair_id"], first),
                purpose="judge", temperature=config.temperature, max_tokens=config.max_tokens,
                max_model_len=max_model_len, affinity=str(pair["problem_id"]),
            )  # fmt: skip
            completion = await session.generate(request)
            said.append({"verdict": verdict_of(completion.samples[0].text), "request_id": completion.request_id})
        return said

    return judge


def verdict_of(text: str) -> str | None:
    """first | second as the last line `#### ...` of a judgment says; None where there is no such line."""
    found = VERDICT.findall(text)
    return found[-1].lower() if found else None
