"""The policy as a `ProposeFn`: n samples of the next step in one request, duplicates collapsed.

The request depends on the path alone (tokens and a seed hashed from problem, night and path), never on
the order of requests, so a run that was killed asks for exactly what was already answered.
"""

import functools
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from pipelines.config import RolloutsConfig, StrategyConfig
from pipelines.inference.errors import ContextLengthError
from pipelines.inference.types import Completion, GenerationRequest, Sample, Sampling, ScoreRequest, TokenScores
from pipelines.reasoning.prompts import PromptStyle, PromptTokenizer
from pipelines.reasoning.steps import is_answer_step
from pipelines.records import stable_seed
from pipelines.search.recipes import Recipe
from pipelines.search.types import Candidate, Path, ProposeFn, SearchParams

PRIOR_LENGTH_EXPONENT = 1.25  # of MCTS-DPO's prior: longer steps get more weight than the mean log-probability gives

EncodeProblemFn = Callable[[Mapping[str, object]], tuple[int, ...]]
"""Prompt tokens of a row of `problems`."""


class StepTokenizer(PromptTokenizer, Protocol):
    """What proposals need of `pipelines.inference.tokens.Tokenizer`."""

    eos_ids: frozenset[int]  # every token that ends a sequence


class GenerationSession(Protocol):
    """What this room needs of `pipelines.inference.session.Session`."""

    tokenizer: StepTokenizer
    model_id: str
    model_digest: str

    def generate(self, request: GenerationRequest) -> Awaitable[Completion]: ...

    def score(self, request: ScoreRequest) -> Awaitable[TokenScores]: ...


def search_params(config: RolloutsConfig, recipe: Recipe) -> SearchParams:
    """Budget from the configuration, shape from the recipe."""
    return SearchParams(
        num_simulations=config.num_simulations,
        num_candidates=config.num_candidates,
        max_depth=config.max_depth,
        evaluate_children=recipe.evaluate_children,
        skip_exhausted=recipe.skip_exhausted,
        expand_to_end=recipe.expand_to_end,
    )


def make_encode_problem(prompts: PromptStyle, tokenizer: PromptTokenizer, instruction: str = "") -> EncodeProblemFn:
    """Encodes solve prompts, remembering the latest few thousand: a tree asks for the same one often."""
    encode = functools.lru_cache(maxsize=4096)(lambda text: prompts.encode(text, tokenizer))
    return lambda problem: encode(prompts.solve_prompt(problem, instruction))


def prompt_of(path: Path, encode_problem: EncodeProblemFn) -> tuple[int, ...]:
    """The prompt that a path's first step was generated from, and with it all that follow: the problem's, unless the
    step has one of its own."""
    own = path.steps[0].prompt_token_ids if path.steps else None
    return encode_problem(path.problem) if own is None else own


def tokens_left(limit: int, num_prompt_tokens: int, max_model_len: int | None) -> int:
    """Tokens that may still be generated: `limit`, or less where the context ends; <= 0 means none."""
    return limit if max_model_len is None else min(limit, max_model_len - num_prompt_tokens)


def prior_of(sum_logprob: float, num_tokens: int) -> float:
    """exp(sum log p / length^1.25), in (0, 1]; not a distribution over siblings (MCTS-DPO, arXiv 2405.00451)."""
    return math.exp(sum_logprob / num_tokens**PRIOR_LENGTH_EXPONENT)


def make_propose(
    session: GenerationSession,
    prompts: PromptStyle,
    config: RolloutsConfig,
    *,
    night: str,
    max_model_len: int | None = None,
    strategy: StrategyConfig | None = None,
) -> ProposeFn:
    """Propose next steps by sampling the policy up to the step separator, in the way of a strategy where there is one.

    A path that fills the context has no next step. A prompt that alone fills it raises
    ContextLengthError. At temperature 0 one sample is asked for, since all would be equal.
    """
    encode_problem = make_encode_problem(prompts, session.tokenizer, strategy.instruction if strategy else "")
    eos_ids = session.tokenizer.eos_ids
    temperature, top_p, names = config.temperature, config.top_p, []
    if strategy is not None:
        temperature = temperature if strategy.temperature is None else strategy.temperature
        top_p, names = top_p if strategy.top_p is None else strategy.top_p, [strategy.name]

    async def propose(path: Path, num_candidates: int) -> list[Candidate]:
        token_ids = path.token_ids
        prompt_token_ids = prompt_of(path, encode_problem) + token_ids
        room = tokens_left(config.step_max_tokens, len(prompt_token_ids), max_model_len)
        if room < 1 and path.steps:
            return []
        check_room(room, path.problem, len(prompt_token_ids), max_model_len)
        num_samples = num_candidates if temperature > 0 else 1
        sampling = Sampling(temperature, top_p, room, num_samples, prompts.step_stop)
        draw = [*names, *([path.draw] if path.draw else [])]
        seed = stable_seed(config.seed, night, path.problem["problem_id"], "expand", token_ids, *draw)
        completion = await session.generate(
            GenerationRequest(prompt_token_ids, sampling, seed, "expand", path.problem["problem_id"])
        )
        return distinct_candidates(completion, eos_ids, sampling.stop)

    return propose


def check_room(room: int, problem: Mapping[str, object], num_tokens: int, max_model_len: int | None) -> None:
    """ContextLengthError when a prompt leaves no token to generate."""
    if room < 1:
        raise ContextLengthError(
            f"problem {problem['problem_id']}: its prompt has {num_tokens} tokens and the context {max_model_len}, "
            "so that nothing can be generated"
        )


def distinct_candidates(completion: Completion, eos_ids: frozenset[int], stop: Sequence[str]) -> list[Candidate]:
    """The usable samples of a step in order, the first of those with equal text kept and their number counted.

    Equal text is one action, also where its tokens differ. Blank steps and samples without finite
    log-probabilities are dropped. `stop`: the texts at which a step was to end.
    """
    candidates: dict[str, Candidate] = {}
    for sample in completion.samples:
        candidate = _candidate(sample, completion.request_id, eos_ids, stop)
        if candidate is not None:
            first = candidates.get(candidate.step_text)
            candidates[candidate.step_text] = replace(first, num_draws=first.num_draws + 1) if first else candidate
    return list(candidates.values())


def _candidate(sample: Sample, request_id: str, eos_ids: frozenset[int], stop: Sequence[str]) -> Candidate | None:
    step_text = sample.text.strip()
    sum_logprob = math.fsum(sample.token_logprobs)
    if not step_text or not sample.token_ids or not math.isfinite(sum_logprob):
        return None
    is_cut_off = sample.finish_reason == "length"
    has_ended = not eos_ids.isdisjoint(sample.token_ids) or not sample.text.endswith(tuple(stop))
    return Candidate(
        step_text=step_text,
        token_ids=sample.token_ids,
        sum_logprob=sum_logprob,
        prior=prior_of(sum_logprob, len(sample.token_ids)),
        is_terminal=is_cut_off or is_answer_step(step_text) or has_ended,
        request_id=request_id,
        token_logprobs=sample.token_logprobs,
        finish_reason="length" if is_cut_off else "stop",
    )
