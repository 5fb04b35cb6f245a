"""What the problems of a search or of a sampling yield: rows in the problems' order, counts, progress.

A problem never vanishes: what failed, and a tree without a complete path, is a row with `error`.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipelines.budget import BUDGET_SPENT, SETTLED, TreeStop
from pipelines.inference.errors import ContextLengthError
from pipelines.reasoning.assembly import Policy, describe_error, failure_row
from pipelines.records import ProgressFn, TokenUsage
from pipelines.row_stream import KeepFn, RowStream
from pipelines.search.extraction import Row, edge_rows, node_rows
from pipelines.search.tree import ROOT, Tree

TABLES = ("search_nodes", "search_edges", "rollouts", "token_usage")
COUNTS = (
    "num_problems", "num_errors", "num_not_started", "num_useful", "num_guided", "num_settled", "num_cut_short",
)  # fmt: skip
NO_STEP = "NoStepError: the policy proposed no usable first step"
UNFINISHED = (
    "UnfinishedTreeError: no path was complete within rollouts.max_depth, rollouts.num_simulations, "
    "rollouts.max_total_tokens and the length that can be valued (rollouts.max_tokens, the critic's context)"
)


@dataclass(frozen=True)
class Rollouts:
    """The tables of one night's search or samples, and what they cost. With a `keep` function the tables are empty."""

    search_nodes: pa.Table
    search_edges: pa.Table
    rollouts: pa.Table
    token_usage: pa.Table
    usage: TokenUsage
    num_problems: int  # begun
    num_errors: int  # problems that failed for another reason than their own length
    num_not_started: int = 0  # drawn, but never begun: enough useful ones were there, or the tokens were spent
    num_useful: int = 0  # trees with both a right and a wrong answer
    num_guided: int = 0  # trees that a critic guided
    num_settled: int = 0  # trees that ended early because their outcome was settled
    num_cut_short: int = 0  # trees that ended early because the tokens were spent


@dataclass(frozen=True)
class ProblemRows:
    """What one problem yields."""

    problem_id: str
    nodes: list[Row]
    edges: list[Row]
    rollouts: list[Row]
    usage: TokenUsage
    has_failed: bool
    is_begun: bool = True  # False: the tokens were spent before its tree had a first step
    is_useful: bool = False
    is_guided: bool = False
    stopped_by: str | None = None  # reason of a `TreeStop`


def rows_of_tree(
    tree: Tree, node_kind: str, paths: Sequence[Row], failure: Exception | None, policy: Policy, stop: TreeStop
) -> ProblemRows:
    """Rows of a finished tree; a tree that was stopped before its first step yields none.

    A tree without a complete path has a row that says so, as one whose search failed: a problem never vanishes.
    """
    problem_id = str(tree.problem["problem_id"])
    if failure is None and stop.reason is not None and not tree.children[ROOT]:
        return ProblemRows(problem_id, [], [], [], TokenUsage(), False, is_begun=False)
    error = describe_error(failure) if failure else None
    if error is None and not paths:
        error = UNFINISHED if tree.children[ROOT] else NO_STEP
    rows = list(paths)
    is_useful = {0.0, 1.0} <= {row["outcome_reward"] for row in rows}
    if error is not None:
        rows.append(failure_row(tree.problem, policy, error, tree_id=tree.tree_id))
    return ProblemRows(
        problem_id,
        nodes=list(node_rows(tree, policy.night, node_kind, policy.is_guided)),
        edges=list(edge_rows(tree, policy.night)),
        rollouts=rows,
        usage=TokenUsage(),
        has_failed=error == NO_STEP or (failure is not None and is_engines(failure)),
        is_useful=is_useful,
        is_guided=policy.is_guided,
        stopped_by=stop.reason,
    )


class Collector:
    """Hands rows on in the problems' order, counts, and reports progress as problems end."""

    def __init__(self, total: int, stage: str, night: str, keep: KeepFn | None, on_progress: ProgressFn) -> None:
        self.total, self.stage, self.night, self.on_progress = total, stage, night, on_progress
        self.stream = RowStream(TABLES, keep)
        self.usage = TokenUsage()
        self.counts: Counter[str] = Counter()
        self.started_at = time.monotonic()

    def problem_ended(self, result: ProblemRows) -> ProblemRows:
        """Count and report a problem as soon as it ends; called in any order."""
        self.counts["num_problems"] += result.is_begun
        self.counts["num_errors"] += result.has_failed
        self.counts["num_useful"] += result.is_useful
        self.counts["num_guided"] += result.is_guided
        self.counts["num_settled"] += result.stopped_by == SETTLED
        self.counts["num_cut_short"] += result.is_begun and result.stopped_by == BUDGET_SPENT
        self.counts["num_not_started"] += not result.is_begun
        self.usage += result.usage
        elapsed_s = max(time.monotonic() - self.started_at, 1e-6)
        numbers = {
            "tokens_per_s": (self.usage.completion_tokens - self.usage.replayed_tokens) / elapsed_s,
            "completion_tokens": float(self.usage.completion_tokens),
            "num_errors": float(self.counts["num_errors"]),
        }
        num_done = self.counts["num_problems"]
        self.on_progress(self.stage, num_done, max(self.total, num_done), numbers)
        return result

    def add(self, result: ProblemRows) -> None:
        """Hand a problem's rows on; called in the problems' order."""
        usage = [self._usage_row(result)] if result.is_begun else []
        self.stream.add(dict(zip(TABLES, (result.nodes, result.edges, result.rollouts, usage), strict=True)))

    def finish(self, num_left: int) -> Rollouts:
        """The result, when all is over; `num_left` problems were never taken up."""
        self.counts["num_not_started"] += num_left
        counts = {name: self.counts[name] for name in COUNTS}
        return Rollouts(**self.stream.finish(), usage=self.usage, **counts)

    def _usage_row(self, result: ProblemRows) -> Row:
        names = ("num_requests", "prompt_tokens", "completion_tokens", "critic_tokens")
        key = {"problem_id": result.problem_id, "stage": self.stage, "night": self.night}
        return {**key, **{name: getattr(result.usage, name) for name in names}}


def is_engines(error: Exception) -> bool:
    """Whether a failure counts for the error rate: a problem longer than the context is no sign of a bad engine."""
    return not isinstance(error, ContextLengthError)
