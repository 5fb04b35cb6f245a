"""The policy as a `RefineFn`: it criticises an answer of its own, then writes a corrected one.

The two requests depend on the answer, its draw and the night alone, as in propose.py. Also here: what makes nodes that
are whole answers look like paths of steps to those who read steps.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from pipelines.config import STARTER_AGENTS, AgentConfig, RolloutsConfig
from pipelines.inference.errors import ContextLengthError
from pipelines.inference.types import Completion, GenerationRequest, Sampling
from pipelines.reasoning.complete import sample_steps
from pipelines.reasoning.prompts import PromptStyle
from pipelines.reasoning.propose import GenerationSession, StepTokenizer, prior_of, tokens_left
from pipelines.reasoning.steps import split_steps
from pipelines.records import stable_seed
from pipelines.search.types import Candidate, CompleteFn, Continuation, EvaluateFn, Evaluation, Path, RefineFn


def make_refine(
    session: GenerationSession,
    prompts: PromptStyle,
    config: RolloutsConfig,
    *,
    night: str,
    reviewer: AgentConfig = STARTER_AGENTS[0],
    max_model_len: int | None = None,
) -> RefineFn:
    """Refine the last answer of a path by a critique of `reviewer` and a request that follows it.

    None where the critique is empty, no step can be read in the refinement, or the context is full. The critique is
    passed on as it is, whatever its verdict: a right answer is refined like a wrong one.
    """
    own = {"temperature": config.temperature, "top_p": config.top_p, "max_tokens": config.max_tokens}

    async def refine(path: Path) -> Candidate | None:
        steps = split_steps(path.steps[-1].step_text, prompts.step_separator)
        try:
            asked, reply = await ask("critique", prompts.critique_prompt(reviewer, path.problem, steps), path)
            critique = reply.samples[0].text
            if not critique.strip():
                return None
            asked, reply = await ask("refine", prompts.refine_prompt(path.problem, steps, critique), path)
        except ContextLengthError:
            return None
        written = list(sample_steps(reply.samples[0], reply.request_id, session.tokenizer, prompts.step_separator))
        if not written:
            return None
        return replace(whole_answer(written, prompts.step_separator), prompt_token_ids=asked.prompt_token_ids)

    async def ask(purpose: str, prompt: str, path: Path) -> tuple[GenerationRequest, Completion]:
        seed = stable_seed(config.seed, night, path.problem["problem_id"], purpose, path.draw, prompt)
        request = text_request(
            prompt, prompts, session.tokenizer, seed=seed, purpose=purpose, max_model_len=max_model_len,
            affinity=path.problem["problem_id"], **own,
        )  # fmt: skip
        return request, await session.generate(request)

    return refine


def text_request(
    prompt: str,
    prompts: PromptStyle,
    tokenizer: StepTokenizer,
    *,
    seed: int,
    purpose: str,
    temperature: float,
    max_tokens: int,
    top_p: float = 1.0,
    max_model_len: int | None = None,
    affinity: str = "",
    regex: str | None = None,
) -> GenerationRequest:
    """One sample that follows a prompt text; ContextLengthError where the prompt leaves no room for it.

    `affinity`: the problem's id; `regex`: what the engine's grammar enforces.
    """
    prompt_token_ids = prompts.encode(prompt, tokenizer)
    room = tokens_left(max_tokens, len(prompt_token_ids), max_model_len)
    if room < 1:
        raise ContextLengthError(
            f"the {purpose} prompt of {len(prompt_token_ids)} tokens fills the context of {max_model_len}"
        )
    sampling = Sampling(temperature, top_p, room, 1, prompts.completion_stop, regex)
    return GenerationRequest(prompt_token_ids, sampling, seed, purpose, affinity)


def whole_answer(steps: Sequence[Candidate], separator: str) -> Candidate:
    """The steps of a sample (at least one) as one answer with all their tokens."""
    token_ids = tuple(token for step in steps for token in step.token_ids)
    logprobs = tuple(logprob for step in steps for logprob in step.token_logprobs)
    sum_logprob = math.fsum(logprobs)
    return replace(
        steps[-1],
        step_text=separator.join(step.step_text for step in steps),
        token_ids=token_ids,
        token_logprobs=logprobs,
        sum_logprob=sum_logprob,
        prior=prior_of(sum_logprob, len(token_ids)),
        is_terminal=True,
    )


def complete_in_one_step(complete: CompleteFn, separator: str) -> CompleteFn:
    """`complete`, whose continuations are one step each: the whole answer."""

    async def complete_whole(path: Path, num_samples: int) -> list[Continuation]:
        found = await complete(path, num_samples)
        return [replace(one, steps=(whole_answer(one.steps, separator),)) for one in found]

    return complete_whole


def evaluate_last_answer(evaluate: EvaluateFn, separator: str) -> EvaluateFn:
    """`evaluate` of the last answer of a path alone, cut into its steps."""

    async def evaluate_answer(path: Path) -> Evaluation:
        answer = path.steps[-1]
        steps = [
            replace(answer, step_text=text, is_terminal=False) for text in split_steps(answer.step_text, separator)
        ]
        return await evaluate(replace(path, steps=(*steps[:-1], replace(steps[-1], is_terminal=True))))

    return evaluate_answer
