"""Complete paths and samples -> rows of `rollouts`, with exact tokens and stable ids.

Ids are hashes of what names the draw (problem, policy, recipe, sampling, night, seed, place), never of
the text: the same draw has the same id in every run, and two equal texts are two rollouts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from pipelines.inference.types import Completion, GenerationRequest
from pipelines.reasoning.propose import prompt_of
from pipelines.reasoning.steps import ExtractFn, GradeFn, grade_steps, is_cut_off, split_steps
from pipelines.records import stable_digest
from pipelines.search.extraction import Row, step_values
from pipelines.search.tree import Tree


@dataclass(frozen=True)
class Policy:
    """What names the distribution that rows were drawn from; part of every id."""

    model_id: str
    model_digest: str
    recipe: str
    sampling_digest: str  # of temperature, stops, limits, prompt templates and search parameters
    night: str
    seed: int
    is_guided: bool = False  # a critic valued incomplete paths


def describe_error(error: Exception) -> str:
    """The text of the column `error`: class and message."""
    return f"{type(error).__name__}: {error}"


def tree_id_of(problem: Mapping[str, object], policy: Policy) -> str:
    """Id of the one tree of a problem under a policy."""
    return stable_digest("tree", problem["problem_id"], _draw(policy))


def group_id_of(problem: Mapping[str, object], policy: Policy) -> str:
    """Id of the one group of independent samples of a problem under a policy."""
    return stable_digest("group", problem["problem_id"], _draw(policy))


def tree_rollout_row(
    tree: Tree,
    leaf: int,
    policy: Policy,
    prompt_token_ids: Sequence[int],
    extract_answer: ExtractFn,
) -> Row:
    """The complete path to a leaf; its prompt is the one that its first step was generated from.

    `seed` is the configured one, each step's request is found by its node.
    """
    path, grader = tree.path(leaf), str(tree.problem["grader"])
    prompt = prompt_of(path, lambda problem: tuple(prompt_token_ids))
    token_logprobs = [logprob for step in path.steps for logprob in step.token_logprobs]
    return {
        **_common(tree.problem, policy),
        "rollout_id": stable_digest("rollout", tree.tree_id, leaf),
        "tree_id": tree.tree_id,
        "leaf_node_id": leaf,
        "seed": policy.seed,
        "steps": path.step_texts,
        "step_values": step_values(tree, leaf),
        "answer": None if path.is_truncated else extract_answer(grader, "\n".join(path.step_texts)),
        "outcome_reward": tree.outcome_reward[leaf],
        "num_prompt_tokens": len(prompt),
        "prompt_token_ids": list(prompt),
        "finish_reason": path.steps[-1].finish_reason,
        "request_id": path.steps[-1].request_id,
        **_completion_columns(path.token_ids, token_logprobs, path.num_given_tokens),
    }


def whole_answer_row(
    tree: Tree,
    node_id: int,
    policy: Policy,
    prompt_token_ids: Sequence[int],
    extract_answer: ExtractFn,
    *,
    separator: str,
) -> Row:
    """The answer that one node holds, cut into steps, in a tree whose nodes are whole answers.

    Its prompt is what the answer was generated from, such as a refinement's; `step_values` are not known.
    """
    answer, grader = tree.candidate[node_id], str(tree.problem["grader"])
    is_truncated = answer.finish_reason == "length"
    prompt = prompt_token_ids if answer.prompt_token_ids is None else answer.prompt_token_ids
    return {
        **_common(tree.problem, policy),
        "rollout_id": stable_digest("rollout", tree.tree_id, node_id),
        "tree_id": tree.tree_id,
        "leaf_node_id": node_id,
        "seed": policy.seed,
        "steps": split_steps(answer.step_text, separator),
        "answer": None if is_truncated else extract_answer(grader, answer.step_text),
        "outcome_reward": tree.outcome_reward[node_id],
        "num_prompt_tokens": len(prompt),
        "prompt_token_ids": list(prompt),
        "finish_reason": answer.finish_reason,
        "request_id": answer.request_id,
        **_completion_columns(answer.token_ids, answer.token_logprobs),
    }


def sample_rollout_rows(
    problem: Mapping[str, object],
    policy: Policy,
    request: GenerationRequest,
    completion: Completion,
    *,
    separator: str,
    grade: GradeFn,
    extract_answer: ExtractFn,
) -> list[Row]:
    """One row per sample of a group, in the order of the samples."""
    rows = []
    group_id, common = group_id_of(problem, policy), _common(problem, policy)
    for index, sample in enumerate(completion.samples):
        steps = split_steps(sample.text, separator)
        is_truncated = is_cut_off(sample.text, sample.finish_reason, separator)
        graded = grade_steps(problem, steps, is_truncated, grade, extract_answer)
        rows.append(
            {
                **common,
                **_sample_ids(group_id, index),
                "seed": request.seed,
                "steps": steps,
                "answer": graded.answer,
                "outcome_reward": graded.outcome_reward,
                "num_prompt_tokens": len(request.prompt_token_ids),
                "prompt_token_ids": list(request.prompt_token_ids),
                "finish_reason": sample.finish_reason,
                "request_id": completion.request_id,
                **_completion_columns(sample.token_ids, sample.token_logprobs),
            }
        )
    return rows


def failure_row(problem: Mapping[str, object], policy: Policy, error: str, *, tree_id: str) -> Row:
    """The row of a tree whose search failed; complete paths that it had found before are rows of their own."""
    ids = {"rollout_id": stable_digest("rollout", tree_id, "failed"), "tree_id": tree_id}
    return {**_common(problem, policy), **ids, **_failed(policy, error)}


def failed_group_rows(problem: Mapping[str, object], policy: Policy, error: str, group_size: int) -> list[Row]:
    """One row per sample that a group should have had, with the ids that the samples would have."""
    group_id, common, failed = group_id_of(problem, policy), _common(problem, policy), _failed(policy, error)
    return [{**common, **_sample_ids(group_id, index), **failed} for index in range(group_size)]


def _draw(policy: Policy) -> Row:
    """What names a draw; whether it was guided is in the sampling digest, by the critic's version."""
    return {key: value for key, value in asdict(policy).items() if key != "is_guided"}


def _common(problem: Mapping[str, object], policy: Policy) -> Row:
    return {
        "problem_id": problem["problem_id"],
        "recipe": policy.recipe,
        "policy_id": policy.model_id,
        "policy_version": policy.model_digest,
        "night": policy.night,
        "sampling_digest": policy.sampling_digest,
        "is_guided": policy.is_guided,
    }


def _sample_ids(group_id: str, index: int) -> Row:
    return {"rollout_id": stable_digest("rollout", group_id, index), "group_id": group_id}


def _failed(policy: Policy, error: str) -> Row:
    return {"seed": policy.seed, "steps": [], "num_tokens": 0, "finish_reason": "error", "error": error}


def _completion_columns(token_ids: Sequence[int], token_logprobs: Sequence[float], num_given: int = 0) -> Row:
    """A text with given tokens was not drawn by the policy as a whole, so it has no behaviour log-probabilities."""
    return {
        "num_tokens": len(token_ids),
        "completion_token_ids": list(token_ids),
        "num_given_tokens": num_given,
        "token_logprobs": None if num_given else list(token_logprobs),
        "sum_logprob": None if num_given else math.fsum(token_logprobs),
    }
