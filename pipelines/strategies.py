"""Ways to turn samples and scores into one answer per problem, and their paired comparison.

Pure functions over the rollouts table (recipe `independent_samples`), step scores and solutions of a
guided search. A problem's samples are ordered by `rollout_id`, a hash, so the order says nothing of
their quality; a strategy over n samples is computed on every whole block of n and averaged, which
uses all samples and stays an unbiased estimate for n. Ties go to the lowest rollout id.
A failed or ungraded rollout counts as wrong. Token columns are means per problem and count
everything that was generated or read, the samples that were not chosen included; `critic_tokens` are all
that was read to judge samples, by a critic or by the policy itself.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.inference.errors import VocabularyTooLargeError
from pipelines.inference.score import MAX_FULL_VOCABULARY
from pipelines.reasoning.evaluate import AGGREGATES
from pipelines.reasoning.solve import Solution
from pipelines.votes import best_vote, borda_vote, majority_vote, weighted_vote

Row = dict[str, object]
DEFAULT_POWER = 0.5  # of Borda votes, as in the script of the self-certainty paper


@dataclass(frozen=True)
class StrategyResult:
    """What a strategy achieved; the four arrays are indexed like `problem_ids` (sorted)."""

    strategy: str
    problem_ids: tuple[str, ...]
    is_right: np.ndarray  # float64, [0, 1]: share of blocks answered rightly
    prompt_tokens: np.ndarray
    completion_tokens: np.ndarray
    critic_tokens: np.ndarray

    @property
    def accuracy(self) -> float:
        """Mean over problems."""
        return float(self.is_right.mean())


@dataclass(frozen=True)
class Comparison:
    """Paired difference of two strategies over the same problems, with a 95 % bootstrap interval."""

    strategy: str
    baseline: str
    num_problems: int
    difference: float  # accuracy of `strategy` minus accuracy of `baseline`
    low: float
    high: float


RuleFn = Callable[[Sequence[Row]], float]
"""The reward that a rule gets from one block of n rollouts."""


def greedy(rollouts: pa.Table) -> StrategyResult:
    """One sample at temperature 0 per problem."""
    return _over_blocks("greedy", rollouts, 1, lambda block: _reward(block[0]))


def pass_at_1(rollouts: pa.Table) -> StrategyResult:
    """A sample taken at random: the mean over all samples of a problem."""
    return _over_blocks("pass_at_1", rollouts, 1, lambda block: _reward(block[0]))


def majority(rollouts: pa.Table, n: int) -> StrategyResult:
    """The most frequent answer of n; among equally frequent ones that of the lowest rollout id."""
    return _over_blocks(f"majority_{n}", rollouts, n, lambda block: _reward(block[majority_vote(_answers(block))]))


def best_of_n_logprob(rollouts: pa.Table, n: int) -> StrategyResult:
    """The answered sample of n with the largest sum of the policy's own log-probabilities."""
    return _over_blocks(f"best_of_{n}_logprob", rollouts, n, _best_by(lambda row: row["sum_logprob"]))


def best_of_n_mean_logprob(rollouts: pa.Table, n: int) -> StrategyResult:
    """The answered sample of n with the largest mean log-probability per token, the inverse of perplexity."""
    return _over_blocks(f"best_of_{n}_mean_logprob", rollouts, n, _best_by(_mean_logprob))


def best_of_n_critic(
    rollouts: pa.Table,
    step_scores: pa.Table,
    n: int,
    aggregate: str = "min",
    *,
    scorer: str = "critic",
    tokens_read: Mapping[str, float] | None = None,
) -> StrategyResult:
    """The answered sample of n with the highest aggregate (product, min, mean, last) of its step scores.

    `step_scores` holds one scorer's rows (`rollout_id, step, score`); `scorer` is what the strategy calls it (critic,
    self_prm). `tokens_read`: tokens that it read of each rollout; None: prompt and completion, once.
    """
    scores = rollout_scores(step_scores, aggregate)
    rule = _best_by(lambda row: scores.get(row["rollout_id"]))
    return _over_blocks(f"best_of_{n}_{scorer}", rollouts, n, rule, critic_tokens_of=_reading(tokens_read))


def weighted_majority(
    rollouts: pa.Table,
    step_scores: pa.Table,
    n: int,
    aggregate: str = "min",
    *,
    scorer: str = "critic",
    tokens_read: Mapping[str, float] | None = None,
) -> StrategyResult:
    """The answer whose samples have the largest sum of scores; arguments as those of `best_of_n_critic`."""
    scores = rollout_scores(step_scores, aggregate)

    def rule(block: Sequence[Row]) -> float:
        weights = [scores.get(row["rollout_id"]) for row in block]
        return _reward(block[weighted_vote(_answers(block), weights)])

    name = f"weighted_majority_{n}_{scorer}"
    return _over_blocks(name, rollouts, n, rule, critic_tokens_of=_reading(tokens_read))


def best_of_n_certainty(rollouts: pa.Table, token_scores: pa.Table, n: int) -> StrategyResult:
    """The answered sample of n with the highest self-certainty.

    `token_scores` holds one model's rows; VocabularyTooLargeError where it has no self-certainties at all. Scoring
    reads each sample's prompt and completion once.
    """
    certainties = self_certainties(token_scores)
    rule = _best_by(lambda row: certainties.get(row["rollout_id"]))
    return _over_blocks(f"best_of_{n}_certainty", rollouts, n, rule, critic_tokens_of=_reading(None))


def borda_certainty(rollouts: pa.Table, token_scores: pa.Table, n: int, power: float = DEFAULT_POWER) -> StrategyResult:
    """The answer with the most Borda votes, samples ranked by self-certainty; `power` 0 is the majority."""
    certainties = self_certainties(token_scores)

    def rule(block: Sequence[Row]) -> float:
        scores = [certainties.get(row["rollout_id"]) for row in block]
        return _reward(block[borda_vote(_answers(block), scores, power)])

    name = f"borda_{n}_certainty" + ("" if power == DEFAULT_POWER else f"_p{power:g}")
    return _over_blocks(name, rollouts, n, rule, critic_tokens_of=_reading(None))


def oracle(rollouts: pa.Table, n: int) -> StrategyResult:
    """Whether any of n samples is right (pass@n): the upper bound of every choice among them."""
    return _over_blocks(f"oracle_{n}", rollouts, n, lambda block: max(map(_reward, block)))


def guided_search(solutions: Sequence[Solution], name: str) -> StrategyResult:
    """The answers of a search that a critic guided."""
    ordered = sorted(solutions, key=lambda solution: solution.problem_id)
    return StrategyResult(
        strategy=name,
        problem_ids=tuple(solution.problem_id for solution in ordered),
        is_right=np.array([solution.outcome_reward or 0.0 for solution in ordered]),
        prompt_tokens=np.array([float(solution.usage.prompt_tokens) for solution in ordered]),
        completion_tokens=np.array([float(solution.usage.completion_tokens) for solution in ordered]),
        critic_tokens=np.array([float(solution.usage.critic_tokens) for solution in ordered]),
    )


def rollout_scores(step_scores: pa.Table, aggregate: str) -> dict[str, float]:
    """Aggregate of each rollout's step scores in step order; rollouts with a null score are left out."""
    steps: dict[str, list[tuple[int, float | None]]] = defaultdict(list)
    columns = [step_scores.column(name).to_pylist() for name in ("rollout_id", "step", "score")]
    for rollout_id, step, score in zip(*columns, strict=True):
        steps[rollout_id].append((step, score))
    combine = AGGREGATES[aggregate]
    return {
        rollout_id: float(combine([score for _, score in sorted(pairs)]))
        for rollout_id, pairs in steps.items()
        if all(score is not None for _, score in pairs)
    }


def self_certainties(token_scores: pa.Table) -> dict[str, float]:
    """Self-certainty by rollout id of one model's rows; rollouts without one are left out.

    ValueError for rows of several models, VocabularyTooLargeError for rows of which none has a self-certainty.
    """
    models = token_scores["model_digest"].unique().to_pylist()
    if len(models) > 1:
        raise ValueError(f"token_scores has rows of {len(models)} models ({', '.join(map(str, models))}); choose one")
    columns = [token_scores[name].to_pylist() for name in ("rollout_id", "self_certainty")]
    found = {rollout_id: value for rollout_id, value in zip(*columns, strict=True) if value is not None}
    if token_scores.num_rows and not found:
        raise VocabularyTooLargeError(
            f"None of the {token_scores.num_rows} rows of token_scores has a self-certainty: it needs the whole "
            f"vocabulary, at most {MAX_FULL_VOCABULARY} tokens, of the scoring model. Vote by log-probability instead."
        )
    return found


def interval(values: np.ndarray, num_resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean over problems; deterministic for a seed."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(num_resamples)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def compare(strategy: StrategyResult, baseline: StrategyResult, num_resamples: int = 1000, seed: int = 0) -> Comparison:
    """Paired difference of accuracies with its interval; ValueError when the problems differ."""
    if strategy.problem_ids != baseline.problem_ids:
        raise ValueError(f"{strategy.strategy} and {baseline.strategy} were not run on the same problems")
    differences = strategy.is_right - baseline.is_right
    low, high = interval(differences, num_resamples, seed)
    return Comparison(strategy.strategy, baseline.strategy, len(differences), float(differences.mean()), low, high)


def report_rows(results: Sequence[StrategyResult], night: str, num_resamples: int = 1000, seed: int = 0) -> list[Row]:
    """Rows of `policy_report`, one per strategy."""
    rows = []
    for result in results:
        low, high = interval(result.is_right, num_resamples, seed)
        rows.append(
            {
                "strategy": result.strategy,
                "num_problems": len(result.problem_ids),
                "accuracy": result.accuracy,
                "low": low,
                "high": high,
                "prompt_tokens": float(result.prompt_tokens.mean()),
                "completion_tokens": float(result.completion_tokens.mean()),
                "critic_tokens": float(result.critic_tokens.mean()),
                "night": night,
            }
        )
    return rows


def _over_blocks(
    strategy: str,
    rollouts: pa.Table,
    n: int,
    rule: RuleFn,
    critic_tokens_of: Callable[[Row], float] | None = None,
) -> StrategyResult:
    """Apply a rule to every whole block of n samples of each problem and average; the prompt is read once per block."""
    groups = _groups(rollouts)
    columns = []
    for problem_id, rows in groups.items():
        if len(rows) < n:
            raise ValueError(f"{strategy} needs {n} samples per problem, and problem {problem_id} has {len(rows)}")
        blocks = [rows[start : start + n] for start in range(0, len(rows) - n + 1, n)]
        used = [row for block in blocks for row in block]
        columns.append(
            (
                sum(map(rule, blocks)) / len(blocks),
                max(_number(row["num_prompt_tokens"], 0.0) for row in rows),
                sum(_number(row["num_tokens"], 0.0) for row in used) / len(blocks),
                sum(map(critic_tokens_of, used)) / len(blocks) if critic_tokens_of else 0.0,
            )
        )
    table = np.array(columns, dtype=np.float64).reshape(-1, 4)
    return StrategyResult(strategy, tuple(groups), *table.T)


def _groups(rollouts: pa.Table) -> dict[str, list[Row]]:
    """Rows by problem id, both sorted."""
    columns = [
        "rollout_id", "problem_id", "answer", "outcome_reward", "sum_logprob", "num_tokens", "num_prompt_tokens",
    ]  # fmt: skip
    groups: dict[str, list[Row]] = {}
    for row in sorted(rollouts.select(columns).to_pylist(), key=lambda row: (row["problem_id"], row["rollout_id"])):
        groups.setdefault(row["problem_id"], []).append(row)
    return groups


def _answers(block: Sequence[Row]) -> list[str | None]:
    return [row["answer"] for row in block]


def _best_by(score_of: Callable[[Row], float | None]) -> RuleFn:
    """The rule that takes the answered sample with the highest score."""
    return lambda block: _reward(block[best_vote(_answers(block), list(map(score_of, block)))])


def _mean_logprob(row: Row) -> float | None:
    return row["sum_logprob"] / row["num_tokens"] if row["sum_logprob"] is not None and row["num_tokens"] else None


def _reading(tokens_read: Mapping[str, float] | None) -> Callable[[Row], float]:
    if tokens_read is None:
        return _tokens_read
    return lambda row: float(tokens_read.get(row["rollout_id"], 0))


def _reward(row: Row) -> float:
    return _number(row["outcome_reward"], 0.0)


def _number(value: object, missing: float) -> float:
    return missing if value is None else float(value)


def _tokens_read(row: Row) -> float:
    """What a scorer reads of a rollout: its prompt and its completion, once."""
    return _number(row["num_prompt_tokens"], 0.0) + _number(row["num_tokens"], 0.0)
