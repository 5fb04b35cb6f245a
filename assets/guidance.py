"""The current critics as the guide of tonight's search.

A problem's tree is guided by the critic of the problem's own fold, which has never seen the problem: a critic that had
learned from its earlier trees would lead the search to what it remembers of them. They are those that were current when
the night began: a critic that learned from tonight's search never guides it, also when the search is made again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assets.critics import fold_scorers
from critics.fold import fold_of
from critics.generative import GenerativeScorer
from critics.registry import current_before
from critics.score import LoadScorer, StepScorer, ensemble_version, load_critic
from pipelines.config import Settings
from pipelines.inference.session import Session
from pipelines.lake import Lake
from pipelines.reasoning.evaluate import AGGREGATES, AggregateFn, critic_evaluator
from pipelines.reasoning.prompts import PromptStyle
from pipelines.search.recipes import Recipe
from pipelines.search.types import EvaluateFn, Evaluation, Path


@dataclass(frozen=True)
class Guide:
    """The critics that value incomplete paths tonight."""

    scorers: Mapping[int, StepScorer | GenerativeScorer]  # by the fold of the problems that they have not seen
    night: str | None  # when they were trained; None: a language model, which learned from no problem

    @property
    def version(self) -> str:
        """One name for the set of critics."""
        return ensemble_version(self.scorers)

    def evaluator(
        self, prompts: PromptStyle, session: Session, aggregate: AggregateFn = AGGREGATES["product"]
    ) -> EvaluateFn:
        """Values a path by an aggregate of its step scores; belongs to one event loop."""
        by_fold = {
            fold: critic_evaluator(
                scorer.score, prompts, aggregate=aggregate,
                count_tokens=lambda text: len(session.tokenizer.encode(text)),
            )
            for fold, scorer in self.scorers.items()
        }  # fmt: skip

        async def evaluate(path: Path) -> Evaluation:
            return await by_fold[fold_of(str(path.problem["problem_id"]), len(by_fold))](path)

        return evaluate

    def critics(self, recipe: Recipe, prompts: PromptStyle, session: Session) -> dict[str, EvaluateFn]:
        """What a recipe, with its parameters, asks for beside `evaluator`: a judge of the last step, called process."""
        if not recipe.asks_for("process"):
            return {}
        return {"process": self.evaluator(prompts, session, AGGREGATES["last"])}


def current_guide(
    settings: Settings,
    lake: Lake,
    night: str,
    load: LoadScorer = load_critic,
    generative: Callable[[], GenerativeScorer] | None = None,
) -> Guide | None:
    """The critics that were current when the night began; None where none was promoted before.

    generative: makes the language model that guides in their place where `process_critic.kind` says so.
    """
    if settings.process_critic.kind == "generative" and generative is not None:
        return Guide({0: generative()}, None)
    critics = current_before(lake, night)
    return None if critics is None else Guide(fold_scorers(settings, critics, load=load), critics.night)
