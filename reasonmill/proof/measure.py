"""How good a policy is on the frozen evaluation problems, per problem, so that intervals can be drawn later.

pass@1 is the mean over samples at temperature 1, pass@n whether any of n samples is right, a flawed step one that the
generator's own rules call wrong. `verdict_auroc` tells whether the policy's critique role, from which critics start,
still tells right steps from wrong ones.
"""

from collections import defaultdict
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc

from assets.evaluation import EVALUATION, evaluation_progress
from assets.resources import prompts_of
from critics.metrics import auroc
from pipelines.config import Settings
from pipelines.grading import extract_answer, graders_of
from pipelines.inference.session import Session
from pipelines.records import ProgressFn, stable_digest
from pipelines.rollouts import check_error_rate, choose_problems, gold_steps, sample_rollouts
from pipelines.self_verdicts import judge_own_steps
from reasonmill.proof.plan import Plan


@dataclass(frozen=True)
class Measurement:
    """Lists with one entry per evaluation problem, in the order of their ids."""

    problem_ids: list[str]
    families: list[str]
    greedy: list[float]  # 1.0 = right
    num_samples: list[int]
    num_right: list[int]  # of the samples
    num_steps: list[int]  # of the samples' steps that have a gold label
    num_flawed: list[int]  # of these, wrong by the generator's rules
    num_flawed_right: list[int]  # right answers with a flawed step
    num_tokens: list[int]  # of the samples
    verdict_auroc: float | None  # of the policy's own verdicts; None where all judged steps are right, or all wrong

    def to_json(self) -> dict[str, object]:
        return asdict(self)


async def measure(
    session: Session, settings: Settings, plan: Plan, problems: pa.Table, on_progress: ProgressFn
) -> Measurement:
    """Greedy answers, samples and verdicts of the session's policy; the same requests for every policy and arm."""
    on_progress = evaluation_progress(on_progress)
    chosen = evaluation_problems(problems, plan.num_evaluation_problems)
    config = settings.rollouts.model_copy(update={"group_size": plan.num_evaluation_samples})
    prompts = prompts_of(settings)
    known = {"night": EVALUATION, "grade": graders_of(settings), "extract_answer": extract_answer}
    known |= {"max_model_len": session.max_model_len, "on_progress": on_progress}
    at_zero = await sample_rollouts(chosen, session, prompts, config, group_size=1, temperature=0.0, **known)
    sampled = await sample_rollouts(chosen, session, prompts, config, **known)
    num_errors = at_zero.num_errors + sampled.num_errors
    check_error_rate(num_errors, 2 * chosen.num_rows, settings.engine.max_error_fraction, EVALUATION)
    judged = first_samples(sampled.rollouts, plan.num_judged_samples)
    verdicts = await judge_own_steps(
        chosen, judged, session, prompts, night=EVALUATION, on_progress=on_progress,
        max_error_fraction=settings.engine.max_error_fraction,
    )  # fmt: skip
    gold = gold_steps(chosen, sampled.rollouts)
    return measurement(chosen, at_zero.rollouts, sampled.rollouts, gold, verdicts.step_scores)


def evaluation_problems(problems: pa.Table, count: int) -> pa.Table:
    """A fixed draw of `count` frozen evaluation problems of every family, or all of a family that has fewer."""
    frozen = problems.filter(problems["is_evaluation"])
    families = sorted(set(frozen["family"].to_pylist()))
    by_family = [frozen.filter(pc.equal(frozen["family"], family)) for family in families]
    return pa.concat_tables(
        [choose_problems(one, count, night=EVALUATION, seed=0, split="held_out") for one in by_family]
    )


def first_samples(samples: pa.Table, count: int) -> pa.Table:
    """The first sample of each of `count` problems, chosen by a stable hash of their ids."""
    seen: dict[str, int] = {}
    for index, problem_id in enumerate(samples["problem_id"].to_pylist()):
        seen.setdefault(problem_id, index)
    chosen = sorted(seen, key=stable_digest)[:count]
    return samples.take(pa.array(sorted(seen[problem_id] for problem_id in chosen), pa.int64()))


def measurement(
    problems: pa.Table, greedy: pa.Table, samples: pa.Table, gold: pa.Table, verdicts: pa.Table
) -> Measurement:
    """Counts per problem. A rollout that failed or was not graded counts as not right; its steps are not counted."""
    family = dict(zip(problems["problem_id"].to_pylist(), problems["family"].to_pylist(), strict=True))
    is_right_step = {(row["rollout_id"], row["step"]): row["is_right"] for row in gold.to_pylist()}
    labels = defaultdict(list)
    for (rollout_id, _), is_right in is_right_step.items():
        labels[rollout_id].append(is_right)
    at_zero = {row["problem_id"]: row["outcome_reward"] or 0.0 for row in _rows(greedy)}
    counts: dict[str, list[int]] = {problem_id: [0] * 6 for problem_id in sorted(family)}
    for row in _rows(samples):
        steps, is_right = labels[row["rollout_id"]], row["outcome_reward"] == 1.0
        num_flawed = steps.count(False)
        added = (1, int(is_right), len(steps), num_flawed, int(is_right and num_flawed > 0), row["num_tokens"] or 0)
        counts[row["problem_id"]] = [a + b for a, b in zip(counts[row["problem_id"]], added, strict=True)]
    scored = [
        (row["score"], is_right_step[row["rollout_id"], row["step"]])
        for row in verdicts.select(["rollout_id", "step", "score"]).to_pylist()
        if row["score"] is not None and (row["rollout_id"], row["step"]) in is_right_step
    ]
    columns = [list(column) for column in zip(*counts.values(), strict=True)]
    return Measurement(
        list(counts), [family[one] for one in counts], [at_zero.get(one, 0.0) for one in counts], *columns,
        verdict_auroc=auroc([score for score, _ in scored], [label for _, label in scored]) if scored else None,
    )  # fmt: skip


def _rows(rollouts: pa.Table) -> list[dict]:
    return rollouts.select(["rollout_id", "problem_id", "outcome_reward", "num_tokens"]).to_pylist()
