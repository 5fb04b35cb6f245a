"""The rates of refinement on samples worked out by hand."""

import numpy as np
import pytest

from pipelines.critiques import Critiques
from pipelines.rows import rows_to_table
from tests.benchmarks.refinements import FINAL, MEAN, NONE, ends_of, results_of


def critique(rollout: str, agent: str, verdict: str | None, text: str) -> dict:
    return {"critique_id": f"{rollout}-{agent}", "rollout_id": rollout, "problem_id": rollout, "agent": agent,
            "verdict": verdict, "text": text}  # fmt: skip


def made() -> tuple:
    """w is wrong: a finds it (refined right once of two), b does not; the final critique says what a says.
    r is right: a accuses it (refined wrong), b does not, nor does the final critique.
    """
    rollouts = [{"rollout_id": name, "problem_id": name, "outcome_reward": grade} for name, grade in
                (("w", 0.0), ("r", 1.0), ("u", None))]  # fmt: skip
    critiques = [critique("w", "a", "wrong", "A"), critique("w", "b", "right", "B"),
                 critique("r", "a", "wrong", "A"), critique("r", "b", "right", "B"),
                 critique("u", "a", "wrong", "A"), critique("u", "b", None, "hm")]  # fmt: skip
    final = (("w", "wrong", "A"), ("r", "right", "B"), ("u", "wrong", "A"))
    verdicts = [{"rollout_id": name, "problem_id": name, "verdict": verdict, "critique_id": f"{name}-f", "text": text}
                for name, verdict, text in final]  # fmt: skip
    refinements = [{"refinement_id": str(i), "critique_id": name, "outcome_reward": grade} for i, (name, grade) in
                   enumerate([("w-f", 1.0), ("w-a", 0.0), ("r-a", 0.0), ("r-b", 1.0)])]  # fmt: skip
    tables = {"critiques": critiques, "critique_units": [], "verdicts": verdicts, "refinements": refinements,
              "critique_records": []}  # fmt: skip
    return rows_to_table("rollouts", rollouts), Critiques(
        **{name: rows_to_table(name, rows) for name, rows in tables.items()}
    )


def test_a_sample_ends_as_its_refinements_where_the_critique_says_wrong():
    ends = ends_of(*made())
    assert ends.before_S.tolist() == [1.0, 0.0]  # r, w; u is not graded
    assert {who: after.tolist() for who, after in ends.after.items()} == {
        NONE: [1.0, 0.0], FINAL: [1.0, 0.5], "a": [0.0, 0.5], "b": [1.0, 0.0], MEAN: [0.5, 0.25],
    }  # fmt: skip


def test_rates_and_paired_differences():
    found = {result.who: result for result in results_of(ends_of(*made()), 50)}
    assert (found[FINAL].wrong_to_right, found[FINAL].right_to_wrong, found[FINAL].accuracy) == (0.5, 0.0, 0.75)
    assert (found["a"].wrong_to_right, found["a"].right_to_wrong) == (0.5, 1.0)
    assert found[FINAL].accuracy_gain == pytest.approx(0.75 - 0.375)
    assert found[MEAN].gain_low == found[MEAN].gain_high == 0.0
    assert found[NONE].wrong_to_right == 0.0
    assert found[FINAL].gain_low <= found[FINAL].accuracy_gain <= found[FINAL].gain_high
    assert np.isfinite(found[FINAL].accuracy_low)
