"""Where labels come from: the tables that each source reads, and how they become examples.

`process_critic.labels` names a source. Sources of trees label every node of search trees (`critics.labels`), sources of
rollouts label the steps of single rollouts. What people reviewed (`human`) is a source of its own and joins every other
source of steps. Gold step labels are no source: they are for reports only.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from critics.errors import CriticDataError
from critics.evidence import SiblingPair, StepLabel
from critics.examples import StepExamples, TreeExample, examples_from_trees, path_example
from critics.labels import (
    MASKED,
    LabelFn,
    NodeValue,
    advantage_labels,
    labels_until,
    masked_after_error,
    monte_carlo_labels,
    outcome_bags,
    outcome_labels,
    relative_labels,
    sibling_labels,
    stepwise_outcome_labels,
    values_of,
)
from critics.model import STEP_SEPARATOR
from pipelines.warehouse import Warehouse

Tables = Mapping[str, pa.Table]
PromptFn = Callable[[Mapping], str]
CLASSES = ("fail", "error", "pass")  # in the order of OutcomeClassesHead


@dataclass(frozen=True)
class LabelSource:
    """One way to label steps."""

    reads: tuple[str, ...]  # tables, `problems` among them
    build: Callable[[Tables, PromptFn, str], StepExamples]  # tables, verify_prompt, split -> examples
    is_verdict: bool = True  # targets on both sides of 1/2 are needed to learn anything
    kind: str = "process"  # what a critic of these labels judges: process (steps), outcome (rollouts) or preference
    one_class_advice: str = "search problems that are neither solved always nor never"


def tables_read(source: str, attributes: Sequence[str] = (), reviewed_weight: float = 0.0) -> tuple[str, ...]:
    """The tables that labels and attributes are made from, each once."""
    people = (HUMAN,) if joins_reviews(source, reviewed_weight) else ()
    return tuple(dict.fromkeys(table for name in (source, *attributes, *people) for table in SOURCES[name].reads))


def joins_reviews(source: str, reviewed_weight: float) -> bool:
    """Whether what people reviewed is learned beside a source: they label steps, so the source must, too."""
    return reviewed_weight > 0 and source != HUMAN and SOURCES[source].kind == "process"


def build_examples(
    source: str,
    tables: Tables,
    verify_prompt: PromptFn,
    *,
    split: str = "train",
    attributes: Sequence[str] = (),
    reviewed_weight: float = 0.0,
) -> StepExamples:
    """The examples of one source, with other sources' targets of the same steps as attributes, and people's reviews.

    tables: what `tables_read` names. reviewed_weight: see `with_reviews`; 0 leaves reviews out. Raises CriticDataError
    where a row belongs to no problem, a target is not a number in [0, 1], or an attribute says nothing of any labelled
    step.
    """
    examples = SOURCES[source].build(tables, verify_prompt, split)
    check_targets(examples)
    others = [SOURCES[name].build(tables, verify_prompt, split) for name in attributes]
    for name, other in zip(attributes, others, strict=True):
        check_targets(other)
        if examples.num_nodes and not _common_steps(examples, other):
            raise CriticDataError(
                f"the attribute {name} says nothing of any of the {examples.num_nodes} steps that {source} labels: "
                "both must label steps of the same trees, or both of the same rollouts"
            )
    known = _with_attributes(examples, others) if others else examples
    if not joins_reviews(source, reviewed_weight):
        return known
    reviews = SOURCES[HUMAN].build(tables, verify_prompt, split)
    check_targets(reviews)
    return with_reviews(known, reviews, reviewed_weight, len(attributes))


def with_reviews(examples: StepExamples, reviews: StepExamples, weight: float, num_attributes: int = 0) -> StepExamples:
    """The examples and those of people, whose labels count `weight` times.

    A rollout that both label stays with people's labels alone. Attributes of reviewed steps are not known.
    """
    unknown = (math.nan,) * num_attributes
    people = {
        tree.tree_id: replace(
            tree, labels=tuple(replace(one, weight=weight * one.weight, attributes=unknown) for one in tree.labels)
        )
        for tree in reviews.trees
    }
    machines = tuple(tree for tree in examples.trees if tree.tree_id not in people)
    return StepExamples((*machines, *people.values()))


def _common_steps(examples: StepExamples, other: StepExamples) -> int:
    known = {tree.tree_id: tree.labels for tree in other.trees}
    return sum(
        mine.weight > 0 and theirs.weight > 0
        for tree in examples.trees
        for mine, theirs in zip(tree.labels, known.get(tree.tree_id, ()), strict=False)
    )


def _with_attributes(examples: StepExamples, others: Sequence[StepExamples]) -> StepExamples:
    known = [{tree.tree_id: tree.labels for tree in other.trees} for other in others]

    def targets(tree_id: str, index: int) -> tuple[float, ...]:
        found = (labels[tree_id][index] if tree_id in labels else MASKED for labels in known)
        return tuple(label.target if label.weight > 0 else math.nan for label in found)

    return StepExamples(
        tuple(
            replace(
                tree,
                labels=tuple(
                    replace(label, attributes=targets(tree.tree_id, index)) for index, label in enumerate(tree.labels)
                ),
            )
            for tree in examples.trees
        )
    )


def check_targets(examples: StepExamples) -> None:
    """CriticDataError for the first label, pair or bag with a number that is NaN or out of range, by tree and node.

    Attributes may be NaN: nothing is known of them.
    """
    for tree in examples.trees:
        where = f"tree {tree.tree_id} of problem {tree.problem_id}"
        for index, label in enumerate(tree.labels):
            if not 0 <= label.target <= 1 or not 0 <= label.weight < math.inf:
                raise CriticDataError(
                    f"{where}, node {index}: a label of source {label.source} has target {label.target} and weight "
                    f"{label.weight}; a target must be in [0, 1] and a weight at least 0. A step of which nothing is "
                    "known has weight 0, never NaN"
                )
            counts, shares = (label.num_right, label.num_total), (*label.samples, *label.grades)
            if not all(0 <= share <= 1 for share in shares) or not all(map(math.isfinite, counts)):
                raise CriticDataError(
                    f"{where}, node {index}: a label of source {label.source} has samples {label.samples}, grades "
                    f"{label.grades} and counts {counts}; samples and grades must be in [0, 1], counts finite"
                )
        for pair in tree.pairs:
            if not math.isfinite(pair.weight):
                raise CriticDataError(
                    f"{where}: the pair of nodes {pair.better} and {pair.worse} has strength {pair.weight}; it must be "
                    "a finite number"
                )
        for bag in tree.bags:
            if not 0 <= bag.outcome <= 1:
                raise CriticDataError(f"{where}: the bag of nodes {bag.nodes} has outcome {bag.outcome}, not 0 to 1")


def check_classes(examples: StepExamples) -> None:
    """CriticDataError where all verdicts are on one side of 1/2: nothing can be told from anything else.

    A few reviews beside another source may all say the same.
    """
    counts: dict[str, list[int]] = {}
    for tree in examples.trees:
        for label in tree.labels:
            if label.weight > 0 and label.source in SOURCES and SOURCES[label.source].is_verdict:
                counts.setdefault(label.source, [0, 0])[label.target >= 0.5] += 1
        for bag in tree.bags:
            counts.setdefault("outcome_bag", [0, 0])[bag.outcome >= 0.5] += 1
    others = {label.source for tree in examples.trees for label in tree.labels if label.weight > 0} - {HUMAN}
    if others or "outcome_bag" in counts:
        counts.pop(HUMAN, None)
    for source, (num_wrong, num_right) in sorted(counts.items()):
        if num_wrong == 0 or num_right == 0:
            raise CriticDataError(
                f"the labels of source {source} have one class only: {num_right} right and {num_wrong} wrong, in "
                f"{len(examples.trees)} trees of {len(examples.problem_ids)} problems. A critic needs both; "
                f"{SOURCES[source].one_class_advice}."
            )


def _of_trees(label: LabelFn, method: str | None = None) -> Callable[[Tables, PromptFn, str], StepExamples]:
    def build(tables: Tables, verify_prompt: PromptFn, split: str) -> StepExamples:
        values = {} if method is None else _node_values(tables["node_values"], method)
        return examples_from_trees(
            tables["problems"], tables["search_nodes"], verify_prompt, split=split, label=label, values=values
        )

    return build


def _of_rollouts(
    query: str, label: Callable[[str, list[Mapping]], list[StepLabel]], source: str
) -> Callable[[Tables, PromptFn, str], StepExamples]:
    """Examples of the rollouts that a query yields, in one row each or one row per step."""

    def build(tables: Tables, verify_prompt: PromptFn, split: str) -> StepExamples:
        with Warehouse.over({name: table for name, table in tables.items() if name != "problems"}) as warehouse:
            rows = warehouse.named(f"critics/{query}").to_pylist()
        problems = _problems(tables["problems"], split)
        by_rollout: dict[str, list[Mapping]] = {}
        for row in rows:
            if row["problem_id"] in problems:
                by_rollout.setdefault(row["rollout_id"], []).append(row)
        return StepExamples(
            tuple(
                path_example(
                    rollout_id, first["problem_id"], verify_prompt(problems[first["problem_id"]]), first["steps"],
                    label(source, of_rollout), is_guided=first["is_guided"],
                )
                for rollout_id, of_rollout in by_rollout.items()
                for first in of_rollout[:1]
            )
        )  # fmt: skip

    return build


def _judged(source: str, rows: list[Mapping]) -> list[StepLabel]:
    """Right before the first error, wrong at it, masked behind it; weighted by the judges' confidence."""
    (row,) = rows
    weight = 1.0 if row["confidence"] is None else row["confidence"]
    return labels_until(row["first_error_step"], len(row["steps"]), weight, source)


def _voted(source: str, rows: list[Mapping]) -> list[StepLabel]:
    """Share of the agents that call a step right; masked behind the first step that most call wrong."""
    labels = [MASKED] * len(rows[0]["steps"])
    for row in rows:
        num_right, num_votes = float(row["num_right"]), float(row["num_votes"])
        share = num_right / num_votes
        labels[row["step"]] = StepLabel(share, 1.0, share, num_right, num_votes, (), (1 - share, share), source)
    return masked_after_error(labels)


def _formal(source: str, rows: list[Mapping]) -> list[StepLabel]:
    """A checker's score of each step it could check; masked behind the first that it refuted."""
    labels = [MASKED] * len(rows[0]["steps"])
    for row in rows:
        labels[row["step"]] = StepLabel(row["score"], 1.0, row["score"], source=source)
    return masked_after_error(labels)


def _classified(source: str, rows: list[Mapping]) -> list[StepLabel]:
    """The class of the whole rollout, at its last step."""
    (row,) = rows
    is_pass = float(row["outcome_class"] == "pass")
    grades = tuple(float(name == row["outcome_class"]) for name in CLASSES)
    last = StepLabel(is_pass, 1.0, is_pass, is_pass, 1.0, (), grades, source)
    return [*[MASKED] * (len(row["steps"]) - 1), last]


def _of_pairs(query: str) -> Callable[[Tables, PromptFn, str], StepExamples]:
    """Examples of the pairs that a query yields, one row each."""

    def build(tables: Tables, verify_prompt: PromptFn, split: str) -> StepExamples:
        problems = _problems(tables["problems"], split)
        with Warehouse.over(tables) as warehouse:
            rows = warehouse.named(f"critics/{query}").to_pylist()
        return StepExamples(
            tuple(
                _pair_example(row, verify_prompt(problems[row["problem_id"]]))
                for row in rows
                if row["problem_id"] in problems
            )
        )

    return build


def _pair_example(row: Mapping, prompt: str) -> TreeExample:
    """The shared steps, then two branches; only their last steps are compared, by the pair's margin."""
    statement = row["statement"] + STEP_SEPARATOR
    if not row["prompt"].startswith(statement):
        raise CriticDataError(
            f"pair {row['pair_id']}: its prompt does not begin with the statement of problem {row['problem_id']}"
        )
    prefix, chosen, rejected = (
        _steps(text) for text in (row["prompt"].removeprefix(statement), row["chosen"], row["rejected"])
    )
    shared, first, second = len(prefix), len(chosen), len(rejected)
    ends = (shared + first, shared + first + second)
    parents = [*range(-1, shared + first), shared, *range(shared + first + 1, ends[1])]
    steps = [*prefix, *chosen, *rejected]
    pair = SiblingPair(*ends, row["margin"])
    labels = [StepLabel(0.0, 0.0, 0.0, source="preference_pairs")] * len(steps)
    return path_example(row["pair_id"], row["problem_id"], prompt, steps, labels, pairs=[pair], parents=parents)


def _steps(text: str) -> list[str]:
    return text.removesuffix(STEP_SEPARATOR).split(STEP_SEPARATOR) if text else []


def _problems(problems: pa.Table, split: str) -> dict[str, Mapping]:
    return {row["problem_id"]: row for row in problems.to_pylist() if row["split"] == split}


def _node_values(table: pa.Table, method: str) -> dict[tuple[str, int], NodeValue]:
    rows: Iterable[Mapping] = table.to_pylist()
    return {
        (row["tree_id"], row["node_id"]): NodeValue(
            row["value"], row["num_right"], row["num_completions"], tuple(row["quantiles"] or ())
        )
        for row in rows
        if row["method"] == method
    }


HUMAN = "human"
TREES = ("problems", "search_nodes")
VALUES = (*TREES, "node_values")
VERDICTS = ("problems", "rollouts", "verdicts")

SOURCES: dict[str, LabelSource] = {
    "relative": LabelSource(TREES, _of_trees(relative_labels)),
    "monte_carlo": LabelSource(TREES, _of_trees(monte_carlo_labels), is_verdict=False),
    "stepwise_outcome": LabelSource(TREES, _of_trees(stepwise_outcome_labels)),
    "outcome": LabelSource(TREES, _of_trees(outcome_labels), kind="outcome"),
    "outcome_bag": LabelSource(TREES, _of_trees(outcome_bags)),
    "advantage": LabelSource(TREES, _of_trees(advantage_labels), is_verdict=False),
    "siblings": LabelSource(TREES, _of_trees(sibling_labels), is_verdict=False, kind="preference"),
    "td_lambda": LabelSource(VALUES, _of_trees(values_of("td_lambda"), "td_lambda"), is_verdict=False),
    "rest_mcts": LabelSource(VALUES, _of_trees(values_of("rest_mcts"), "rest_mcts"), is_verdict=False),
    "beta_quantiles": LabelSource(VALUES, _of_trees(values_of("beta_quantiles"), "beta_quantiles"), is_verdict=False),
    "judge": LabelSource(VERDICTS, _of_rollouts("judged_rollouts", _judged, "judge")),
    "consensus": LabelSource(
        (*VERDICTS, "first_errors", "step_scores"),
        _of_rollouts("agreed_rollouts", _judged, "consensus"),
        one_class_advice="a wrong rollout counts where its verdict names the step that first_errors names for it, or "
        "for a path of a tree of the same problem that begins alike; search the problems of the judged rollouts",
    ),
    "votes": LabelSource(("problems", "rollouts", "critiques"), _of_rollouts("voted_steps", _voted, "votes")),
    "formal": LabelSource(("problems", "rollouts", "step_scores"), _of_rollouts("formal_steps", _formal, "formal")),
    "outcome_classes": LabelSource(
        ("problems", "rollouts"), _of_rollouts("outcome_classes", _classified, "outcome_classes"), kind="outcome"
    ),
    HUMAN: LabelSource(
        ("problems", "human_labels"),
        _of_rollouts("reviewed_rollouts", _judged, HUMAN),
        one_class_advice="have people review solutions with and without errors (reasonmill datasets review export)",
    ),
    "preference_pairs": LabelSource(
        ("problems", "preference_pairs"), _of_pairs("preference_pairs"), is_verdict=False, kind="preference"
    ),
    "policy_shift": LabelSource(
        ("problems", "preference_pairs"), _of_pairs("policy_shift"), is_verdict=False, kind="preference"
    ),
}
"""Name in the configuration -> source."""
