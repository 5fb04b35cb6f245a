"""A language model as critic, untrained: what an engine's log-probabilities say of a verdict on each step.

    GenRM      p_k = P(right | x, steps 1..k, question) / (P(right | ...) + P(wrong | ...))          arXiv 2408.15240
    ZYN        the same of a model that was never taught it, with words such as Yes and No           arXiv 2308.06385
    GenRM-CoT  mean of p_k over K sampled critiques, each read where it gives its verdict on step k

Asked directly, the verdict follows steps 1..k and the question (none: it stands in place, as the starter learned it),
so p_k does not depend on later steps. With critiques (`num_rationales` K > 0) it is read in the text that the critique
role wrote about the whole solution: on the line of step k, after all that the critique said before, the words `right`
and `wrong` are compared there. A critique without a line for step k says nothing of it; None where no critique has one.
Words of several tokens are compared by the sum of their log-probabilities.

The scorer is used as a trained critic's is (`critics.score.StepScorer`): it is synchronous and may be called from any
thread, also one whose event loop runs, because it asks its session in a thread of its own. It has learned from no
problem, so one scorer serves all folds. Scores follow from model, texts and configuration: the response store replays
them.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from statistics import fmean
from typing import ClassVar, Protocol, TypeVar

from critics.score import StepOpinion
from pipelines.config import AgentConfig, GenerativeCriticConfig, Settings
from pipelines.inference.errors import RequestError
from pipelines.inference.tokens import TextCodec
from pipelines.inference.types import GenerateFn, GenerationRequest, Sampling, ScoreFn, ScoreRequest
from pipelines.problem_rows import is_engines
from pipelines.reasoning.prompts import PromptStyle, load_prompts
from pipelines.records import stable_digest, stable_seed
from pipelines.rollouts import check_error_rate
from pipelines.search.flight import run_in_flight
from pipelines.self_verdicts import VerdictTokens, judge_steps, share_of_right

STAGE = "generative_critic"
SOLUTIONS_IN_FLIGHT = 256
WORDS = ("right", "wrong")  # of a critique's line, as its prompt asks for them

Result = TypeVar("Result")


class CriticSession(Protocol):
    """What a generative critic needs of a session."""

    generate: GenerateFn
    score: ScoreFn
    tokenizer: TextCodec
    model_digest: str
    max_model_len: int | None


OpenSession = Callable[[], AbstractAsyncContextManager[CriticSession]]


class GenerativeScorer:
    """A language model that is asked for its verdict on every step."""

    source: ClassVar[str] = "judge"  # of its rows in step_scores

    def __init__(
        self,
        open_session: OpenSession,
        config: GenerativeCriticConfig,
        prompts: PromptStyle,
        agent: AgentConfig,
        max_error_fraction: float = 0.02,
    ) -> None:
        """agent: whose critiques are read where `config.num_rationales` asks for some."""
        self._open_session = open_session
        self._config = config
        self._prompts = prompts
        self._agent = agent
        self._max_error_fraction = max_error_fraction
        self._known: tuple[str, TextCodec] | None = None
        self.training_problems: frozenset[str] = frozenset()

    @property
    def version(self) -> str:
        """Names the model, what it is asked and how."""
        asked = stable_digest(
            self._config.model_dump(mode="json"), self._prompts.digest, self._agent.model_dump(mode="json"), length=8
        )
        return f"generative-{self._model[0][:16]}-{asked}"

    def knows(self, text: str) -> bool:
        """Whether the model reads a step, or the statement in a prompt, back as it was."""
        tokenizer, own = self._model[1], self._prompts.statement_of(text)
        return tokenizer.decode(tokenizer.encode(own)) == own

    def score(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[float | None]]:
        """Scores of the steps of each solution, in order; prompts are those of `verify_prompt`.

        None where a solution is longer than the context or no critique says anything of the step. Raises ConfigError
        for verdicts that are no tokens of the model, and ErrorRateError where the engine failed too often.
        """
        return _in_thread(partial(self._score, prompts, steps))

    def opinions(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[StepOpinion | None]]:
        """The same as a trained critic gives them; one model disagrees with nobody."""
        made = self.score(prompts, steps)
        return [[None if score is None else StepOpinion(score, None) for score in of_one] for of_one in made]

    @property
    def _model(self) -> tuple[str, TextCodec]:
        if self._known is None:
            _in_thread(self._look)
        return self._known

    async def _look(self) -> None:
        async with self._open_session() as session:
            self._known = (session.model_digest, session.tokenizer)

    async def _score(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[float | None]]:
        made: list[list[float | None]] = []
        num_failed = 0
        async with self._open_session() as session:
            self._known = (session.model_digest, session.tokenizer)
            judge = self._by_critiques(session) if self._config.num_rationales else self._directly(session)

            async def work(solution: tuple[str, Sequence[str]]) -> list[float | None]:
                nonlocal num_failed
                try:
                    return await judge(*solution)
                except RequestError as error:
                    num_failed += is_engines(error)
                    return [None] * len(solution[1])

            await run_in_flight(work, list(zip(prompts, steps, strict=True)), SOLUTIONS_IN_FLIGHT, made.append)
        check_error_rate(num_failed, len(made), self._max_error_fraction, STAGE)
        return made

    def _directly(self, session: CriticSession) -> Callable[[str, Sequence[str]], Awaitable[list[float | None]]]:
        verdicts = VerdictTokens(*self._config.verdict_tokens).ids(session.tokenizer)

        async def judge(prompt: str, steps: Sequence[str]) -> list[float | None]:
            question, separator = self._config.question, self._prompts.step_separator
            scores, _ = await judge_steps(session, prompt, list(steps), separator, verdicts, question)
            return scores

        return judge

    def _by_critiques(self, session: CriticSession) -> Callable[[str, Sequence[str]], Awaitable[list[float | None]]]:
        async def judge(prompt: str, steps: Sequence[str]) -> list[float | None]:
            problem = {"prompt": self._prompts.statement_of(prompt)}
            asked = self._prompts.encode(self._prompts.critique_prompt(self._agent, problem, steps), session.tokenizer)
            critiques = await self._critiques(session, asked)
            by_critique = await asyncio.gather(
                *(_read_critique(session, asked, critique, steps) for critique in critiques)
            )
            return [_mean_of_known(of_step) for of_step in zip(*by_critique, strict=True)]

        return judge

    async def _critiques(self, session: CriticSession, asked: tuple[int, ...]) -> list[str]:
        config = self._config
        sampling = Sampling(
            config.temperature, 1.0, config.max_tokens, config.num_rationales, self._prompts.completion_stop
        )
        seed = stable_seed(config.seed, STAGE, asked)
        completion = await session.generate(GenerationRequest(asked, sampling, seed, "critique"))
        return [sample.text for sample in completion.samples]


def judge_model(settings: Settings) -> str | None:
    """Whom the generative critic asks; None: the policy."""
    return None if settings.generative_critic.model == "policy" else settings.generative_critic.model


def generative_scorer(settings: Settings, open_session: OpenSession) -> GenerativeScorer:
    """The configured language model as critic; `open_session` opens a session with it."""
    return GenerativeScorer(
        open_session,
        settings.generative_critic,
        load_prompts(settings.policy.prompt_style, settings.prompts_dir),
        settings.critiques.agents[0],
        settings.engine.max_error_fraction,
    )


def verdict_places(critique: str, steps: Sequence[str]) -> list[int | None]:
    """Per step, where the verdict word stands on its line of a critique; None where there is no such line.

    A line is the step's number from 0, the step itself where the critique repeats it, and `right` or `wrong`.
    """
    places = []
    for index, step in enumerate(steps):
        line = re.compile(rf"^{index}[ .:)]+(?:{re.escape(step)} )?(?=(?:right|wrong)\b)", re.MULTILINE)
        found = line.search(critique)
        places.append(found.end() if found else None)
    return places


async def _read_critique(
    session: CriticSession, asked: tuple[int, ...], critique: str, steps: Sequence[str]
) -> list[float | None]:
    """P(right) / (P(right) + P(wrong)) at the verdict word of every step that the critique judges."""
    places = verdict_places(critique, steps)
    return await asyncio.gather(*(_share_at(session, asked, critique, place) for place in places))


async def _share_at(session: CriticSession, asked: tuple[int, ...], critique: str, place: int | None) -> float | None:
    if place is None:
        return None
    before = (*asked, *session.tokenizer.encode(critique[:place]))
    words = [tuple(session.tokenizer.encode(word)) for word in WORDS]
    scores = await asyncio.gather(*(session.score(ScoreRequest((*before, *word), "none")) for word in words))
    right, wrong = (sum(one.token_logprobs[-len(word) :]) for one, word in zip(scores, words, strict=True))
    return share_of_right(right, wrong)


def _mean_of_known(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return fmean(known) if known else None


def _in_thread(work: Callable[[], Coroutine[None, None, Result]]) -> Result:
    """Runs a coroutine to its end on an event loop of its own, whatever thread asks."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix=STAGE) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()
