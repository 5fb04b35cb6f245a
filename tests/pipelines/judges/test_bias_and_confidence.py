import math

import numpy as np
import pyarrow as pa
import pytest

from pipelines.curation import Curation
from pipelines.judges import bias, confidence
from pipelines.judges.bias import BiasParams
from pipelines.judges.confidence import EDGE, ConfidenceParams


def table(method: Curation, rows: list[dict]) -> pa.Table:
    schema = pa.schema([("position", pa.int64()), *((one.name, one.kind) for one in method.reads)])
    return pa.Table.from_pylist([{"position": i, **row} for i, row in enumerate(rows)], schema=schema)


# bias -------------------------------------------------------------------------------------------


def probe(item: str, plain: str | None, perturbed: str | None, name: str = "verbosity") -> list[dict]:
    row = {"judge": "j", "bias": name, "item_id": item, "gold": "a", "pushed_to": "b"}
    return [row | {"is_perturbed": False, "verdict": plain}, row | {"is_perturbed": True, "verdict": perturbed}]


def test_a_probe_counts_what_changed_what_it_cost_and_where_it_was_pushed():
    rows = [*probe("1", "a", "a"), *probe("2", "a", "b"), *probe("3", "b", "a"), *probe("4", "a", "b"),
            *probe("5", "a", None), probe("6", "a", "b")[0], *probe("1", "b", "b", "position")]  # fmt: skip
    position, verbosity = bias.run(table(bias.CURATION, rows), BiasParams()).to_pylist()
    assert (verbosity["num_items"], verbosity["num_unreadable"], verbosity["num_single"]) == (4, 1, 1)
    assert verbosity["consistency"] == 0.25
    # Wilson: (1/4 + z2/8 -+ z sqrt(3/64 + z2/64)) / (1 + z2/4)
    z2 = 1.959963984540054**2
    half = math.sqrt(z2 * (3 / 64 + z2 / 64))
    assert (verbosity["low"], verbosity["high"]) == (
        pytest.approx((0.25 + z2 / 8 - half) / (1 + z2 / 4)), pytest.approx((0.25 + z2 / 8 + half) / (1 + z2 / 4)),
    )  # fmt: skip
    # right plain 1, 2, 4; right perturbed 1, 3; of 1, 2, 4 two were pushed to b
    assert (verbosity["accuracy_plain"], verbosity["accuracy_perturbed"]) == (0.75, 0.5)
    assert (verbosity["accuracy_drop"], verbosity["num_pushable"]) == (0.25, 3)
    assert verbosity["pushed"] == pytest.approx(2 / 3)
    assert (position["bias"], position["consistency"], position["pushed"]) == ("position", 1.0, None)


def test_a_judge_without_a_pair_has_no_rate():
    rows = [probe("1", "a", "b")[0] | {"gold": None, "pushed_to": None}]
    found = bias.run(table(bias.CURATION, rows), BiasParams()).to_pylist()[0]
    assert (found["num_single"], found["num_items"]) == (1, 0)
    assert {found[name] for name in ("consistency", "low", "high", "accuracy_plain", "accuracy_drop", "pushed")} == {
        None
    }
    empty = bias.run(table(bias.CURATION, []), BiasParams())
    assert (empty.num_rows, empty.schema) == (0, bias.WRITES)


# confidence -------------------------------------------------------------------------------------


def judged(*rows: tuple) -> list[dict]:
    names = ("probability", "votes_first", "num_votes")
    made = confidence.run(
        table(confidence.CURATION, [dict(zip(names, row, strict=True)) for row in rows]), ConfidenceParams()
    )
    assert made.schema == pa.schema([("position", pa.int64()), *confidence.WRITES])
    return made.to_pylist()


def test_the_rewards_are_those_of_the_single_votes():
    row = judged((0.8, 3, 4))[0]
    # votes 1, 1, 1, 0: squares .04 three times and .64 once, mean .19
    assert (row["vote_share"], row["brier_reward"]) == (0.75, pytest.approx(1 - 0.19))
    assert row["squared_error"] == pytest.approx(0.0025)
    assert row["log_reward"] == pytest.approx(0.75 * math.log(0.8) + 0.25 * math.log(0.2))
    assert row["calibrated"] == pytest.approx(0.8)  # nothing else to learn from


def test_what_is_missing_is_named_and_a_certain_judge_stays_finite():
    rows = judged((None, 1, 2), (1.5, 1, 2), (math.nan, 1, 2), (0.5, None, 2), (0.5, 1, 0), (0.5, 3, 2), (1.0, 0, 2))
    assert [row["reason"] for row in rows] == ["no_probability"] * 3 + ["no_votes"] * 3 + [None]
    assert [row["calibrated"] is None for row in rows] == [True] * 3 + [False] * 4
    assert [row["brier_reward"] for row in rows[:6]] == [None] * 6
    assert (rows[6]["brier_reward"], rows[6]["log_reward"]) == (0.0, pytest.approx(math.log(EDGE)))
    assert judged() == []


def test_an_overconfident_judge_is_calibrated_by_the_votes_of_others():
    rng = np.random.default_rng(0)
    truth = 1 / (1 + np.exp(-rng.normal(0, 1, 600)))
    said = 1 / (1 + np.exp(-3 * np.log(truth / (1 - truth))))  # three times too sure
    rows = judged(*((float(p), float(rng.binomial(9, q)), 9.0) for p, q in zip(said, truth, strict=True)))
    before = np.mean([row["squared_error"] for row in rows])
    after = np.mean([(row["calibrated"] - row["vote_share"]) ** 2 for row in rows])
    noise = np.mean(truth * (1 - truth)) / 9
    assert before > 2 * noise
    assert after == pytest.approx(noise, rel=0.15)


def test_rows_of_one_group_never_calibrate_one_another():
    rows = [{"probability": 0.9, "votes_first": 0.0, "num_votes": 50.0, "group_id": "g"} for _ in range(30)]
    made = confidence.run(table(confidence.CURATION, rows), ConfidenceParams())
    assert made["calibrated"].to_pylist() == pytest.approx([0.9] * 30)


def test_bare_verdicts_are_calibrated_to_how_often_they_are_right():
    # always 0 or 1, with three votes of four on its side: calibrated to .75 and .25
    rows = [
        {"probability": float(i % 2), "votes_first": 3.0 if i % 2 else 1.0, "num_votes": 4.0, "group_id": str(i)}
        for i in range(200)
    ]
    made = confidence.run(table(confidence.CURATION, rows), ConfidenceParams())
    assert made["calibrated"].to_pylist() == pytest.approx([0.75 if i % 2 else 0.25 for i in range(200)], abs=0.01)
