import numpy as np
import pyarrow as pa
import pytest

from pipelines.judges.length_control import CURATION, WRITES, LengthParams, fitted, run


def table(rows: list[dict]) -> pa.Table:
    schema = pa.schema([("position", pa.int64()), *((one.name, one.kind) for one in CURATION.reads)])
    return pa.Table.from_pylist([{"position": i, **row} for i, row in enumerate(rows)], schema=schema)


def sigma(x):
    return 1 / (1 + np.exp(-x))


def test_preferences_that_follow_the_model_exactly_give_its_coefficients():
    # gaps -2, -1, 1, 2 with sample sd sqrt(10 / 3); theta = .4, phi = 1.5, psi = -1
    gap = np.tile([-2.0, -1.0, 1.0, 2.0], 5)
    difficulty = np.repeat([-1.0, -0.5, 0.0, 0.5, 1.0], 4)
    preference = sigma(0.4 + 1.5 * np.tanh(gap / gap.std(ddof=1)) - difficulty)
    fit = fitted(preference, gap, difficulty, 1e-9)
    assert (fit.theta, fit.phi, fit.psi) == (pytest.approx(0.4), pytest.approx(1.5), pytest.approx(-1.0))
    assert fit.rate == pytest.approx(np.mean([sigma(0.4 - d) for d in (-1.0, -0.5, 0.0, 0.5, 1.0)]))


def test_a_model_that_wins_by_length_alone_wins_half_at_equal_lengths():
    rows = [
        {"model": "long", "preference": 1.0, "num_chars_first": 200 + i, "num_chars_second": 100} for i in range(30)
    ] + [
        {"model": "long", "preference": 0.0, "num_chars_first": 100 - i, "num_chars_second": 200} for i in range(10)
    ]  # fmt: skip
    found = run(table(rows), LengthParams(num_resamples=20)).to_pylist()[0]
    assert found["win_rate"] == 0.75
    assert found["lc_win_rate"] == pytest.approx(0.5, abs=0.1)  # separable: the penalty alone bounds phi
    assert found["phi"] > 3
    assert found["is_far"]
    assert found["low"] <= found["lc_win_rate"] <= found["high"]


def test_equal_lengths_leave_the_raw_rate():
    rows = [
        {"model": None, "preference": float(i % 4 == 0), "num_chars_first": 5, "num_chars_second": 5} for i in range(40)
    ]
    found = run(table(rows), LengthParams(num_resamples=0, penalty=1e-6)).to_pylist()[0]
    assert (found["win_rate"], found["phi"], found["low"]) == (0.25, 0.0, None)
    assert found["lc_win_rate"] == pytest.approx(0.25, abs=1e-6)


def test_rows_without_numbers_have_no_part_and_few_rows_no_controlled_rate():
    good = {"model": "m", "preference": 1.0, "num_chars_first": 5, "num_chars_second": 4}
    rows = [good, good | {"preference": None}, good | {"num_chars_first": None}, good | {"preference": 1.5}]
    found = run(table(rows + [{**rows[1], "model": "n"}]), LengthParams()).to_pylist()
    assert [(row["model"], row["num_rows"], row["num_left_out"], row["win_rate"], row["reason"]) for row in found] == [
        ("m", 1, 3, 1.0, "too_few_rows"), ("n", 0, 1, None, "too_few_rows"),
    ]  # fmt: skip
    assert found[0]["lc_win_rate"] is None
    empty = run(table([]), LengthParams())
    assert (empty.num_rows, empty.schema) == (0, WRITES)
