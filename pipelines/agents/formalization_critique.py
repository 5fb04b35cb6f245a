"""Critics of formal statements (CriticLean): is a Lean statement what the natural one says?

One row is a statement pair with a label and one critic's answer, which ends in a line "Judgement: Correct" or
"Judgement: Incorrect" after an explanation:

    reward = 1 where the verdict is the label and the answer has its form, else 0

(An answer without its form has the reward 0 in the paper's account; here it has none, and the reason `unreadable`.)
Kept to learn from: rows whose verdict is the label; a wrong statement that does not compile teaches a critic nothing
(`not_compilable`). Other reasons: `wrong_verdict`, `no_label`. `formalization_rates` gives the benchmark's numbers.

The paper's loop (formalise, compile, criticise, formalise again) needs a Lean installation and is not here.
"""

import re

import pyarrow as pa
from pydantic import Field

from pipelines.agents.rewards import over
from pipelines.config import Section
from pipelines.curation import DECISION, Column, Curation

CORRECT, INCORRECT = "correct", "incorrect"
_VERDICT = re.compile(r"^\W*judge?ment\W{0,6}(correct|incorrect)\W*$", re.IGNORECASE)
MIN_EXPLANATION = 1  # characters before the verdict's line


class FormalizationParams(Section):
    """Parameters of `formalization_critique`."""

    need_compiling: bool = Field(True, description="wrong statements that do not compile are not kept")


class FormalizationRatesParams(Section):
    """`formalization_rates` has no parameters."""


def verdict_of(text: str | None) -> str | None:
    """The verdict of an answer in its form; None for any other."""
    lines = (text or "").strip().rsplit("\n", 1)
    found = _VERDICT.match(lines[-1][:200]) if len(lines) == 2 else None
    return found[1].lower() if found and len(lines[0].strip()) >= MIN_EXPLANATION else None


def run(table: pa.Table, params: FormalizationParams) -> pa.Table:
    """One row per answer."""
    rows = [_judged(row, params) for row in table.to_pylist()]
    return pa.Table.from_pylist(rows, schema=pa.schema([("position", pa.int64()), *WRITES]))


def _judged(row: dict[str, object], params: FormalizationParams) -> dict[str, object]:
    verdict = verdict_of(row["critique"])
    label = row["label"] if row["label"] in (CORRECT, INCORRECT) else None
    reward = None if verdict is None or label is None else float(verdict == label)
    if label is None:
        reason = "no_label"
    elif verdict is None:
        reason = "unreadable"
    elif params.need_compiling and label == INCORRECT and row["compiles"] is False:
        reason = "not_compilable"
    else:
        reason = None if verdict == label else "wrong_verdict"
    decided = {"kept": reason is None, "reason": reason, "score": reward}
    return {"position": row["position"], "verdict": verdict, "reward": reward, **decided}


WRITES = pa.schema([("verdict", pa.string()), ("reward", pa.float64()), *DECISION])
FORMALIZATION_CRITIQUE = Curation(
    params=FormalizationParams,
    reads=(
        Column("critique", pa.string(), "the critic's answer; null: none came"),
        Column("label", pa.string(), "correct | incorrect; anything else is not known"),
        Column("compiles", pa.bool_(), "the formal statement compiles; null: not known", is_required=False),
    ),
    writes=WRITES,
    grain="rows",
    run=run,
)
FORMALIZATION_RATES = over(
    "judgments", "formalization_rates", FormalizationRatesParams,
    (
        Column("verdict", pa.string(), "correct | incorrect; anything else could not be read"),
        Column("label", pa.string(), "correct | incorrect; anything else is not known"),
    ),
    pa.schema(
        [
            *((name, pa.int64()) for name in ("num_judged", "num_unreadable")),
            *((name, pa.float64()) for name in ("accuracy", "tpr", "fpr", "tnr", "fnr")),
        ]
    ),
    "table",
)  # fmt: skip
