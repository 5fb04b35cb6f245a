"""The lot and its probabilities; estimates worked out by hand; coverage by drawing the sample again and again."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.audit.audited_sample import (
    ESTIMATE_CURATION,
    ESTIMATE_WRITES,
    NORMAL_95,
    SAMPLE_CURATION,
    EstimateParams,
    SampleParams,
    draw,
    estimate,
)
from pipelines.curation import Curation
from pipelines.errors import ReasonmillError


def table(method: Curation, rows: list[dict]) -> pa.Table:
    schema = pa.schema([("position", pa.int64()), *((one.name, one.kind) for one in method.reads)])
    return pa.Table.from_pylist([{"position": i, **row} for i, row in enumerate(rows)], schema=schema)


def labels(*judge: float | None) -> pa.Table:
    return table(SAMPLE_CURATION, [{"row_id": str(i), "judge_label": label} for i, label in enumerate(judge)])


# the lot ----------------------------------------------------------------------------------------


def strata(drawn: pa.Table) -> dict[str, tuple[int, int, float]]:
    found: dict[str, tuple[int, int, float]] = {}
    for row in drawn.to_pylist():
        count, sampled, _ = found.get(row["stratum"], (0, 0, 0.0))
        found[row["stratum"]] = (count + 1, sampled + row["is_sampled"], row["inclusion_probability"])
    return found


def test_rows_are_drawn_by_stratum_with_the_probability_that_is_written_down():
    judge = [0.1] * 60 + [0.9] * 30 + [None] * 10
    # proportional: 20 of 100, so 12, 6 and 2
    drawn = draw(labels(*judge), SampleParams(num_samples=20, num_bins=2, allocation="proportional"))
    assert strata(drawn) == {"bin_0": (60, 12, 0.2), "bin_1": (30, 6, 0.2), "unread": (10, 2, 0.2)}
    # by uncertainty: s = .3, .3, .5; 60 * .3 + 30 * .3 + 10 * .5 = 32; 20 * 18 / 32, 20 * 9 / 32, 20 * 5 / 32
    drawn = draw(labels(*judge), SampleParams(num_samples=20, num_bins=2))
    assert strata(drawn) == {"bin_0": (60, 11, 11 / 60), "bin_1": (30, 6, 0.2), "unread": (10, 3, 0.3)}


def test_a_stratum_has_two_rows_at_least_and_never_more_than_there_are():
    drawn = draw(labels(*[0.1] * 500, 0.9, 1.0, 0.6), SampleParams(num_samples=10, num_bins=2))
    assert strata(drawn)["bin_1"] == (3, 2, pytest.approx(2 / 3))
    everything = draw(labels(0.1, 0.2, 0.9), SampleParams(num_samples=50, num_bins=2))
    assert everything["is_sampled"].to_pylist() == [True] * 3
    assert set(everything["inclusion_probability"].to_pylist()) == {1.0}
    assert draw(labels(), SampleParams()).num_rows == 0


def test_the_lot_depends_on_ids_and_seed_alone():
    judge = labels(*np.linspace(0, 1, 200))
    first = draw(judge, SampleParams(num_samples=40))
    again = draw(judge.take(pa.array(range(199, -1, -1))), SampleParams(num_samples=40))
    assert first.equals(again)
    assert not first.equals(draw(judge, SampleParams(num_samples=40, seed=1)))


# estimates --------------------------------------------------------------------------------------


def audited(judge: float | None, gold: list[float | None], inclusion: float, stratum: str = "s") -> list[dict]:
    return [
        {"judge_label": judge, "gold_label": one, "inclusion_probability": inclusion, "stratum": stratum}
        for one in gold
    ]


def estimates(rows: list[dict]) -> dict[str, dict]:
    return {row["measure"]: row for row in estimate(table(ESTIMATE_CURATION, rows), EstimateParams()).to_pylist()}


def test_the_estimates_of_a_hard_judge_are_those_of_the_strata():
    # accepted: 6 rows, 4 audited, 3 of them right; refused: 4 rows, 2 audited, 1 right
    rows = audited(1.0, [1.0, 1.0, 1.0, 0.0, None, None], 4 / 6, "yes")
    rows += audited(0.0, [1.0, 0.0, None, None], 2 / 4, "no")
    found = estimates(rows)
    right = found["right"]
    # 6 * 3/4 + 4 * 1/2 = 6.5 of 10, where the judge says 6 of 10
    assert (right["naive"], right["horvitz_thompson"], right["doubly_robust"]) == (0.6, *[pytest.approx(0.65)] * 2)
    # variances .25 and .5: (36 * (1/3) * .25 / 4 + 16 * (1/2) * .5 / 2) / 100 = (.75 + 2) / 100
    half = NORMAL_95 * np.sqrt(0.0275)
    assert (right["low"], right["high"]) == (pytest.approx(0.65 - half), pytest.approx(0.65 + half))
    assert (right["num_rows"], right["num_audited"]) == (10, 6)
    # wrong: 1 of 4 accepted, 1 of 2 refused: 6 * 1/4 + 4 * 1/2 = 3.5
    assert found["judge_error"]["doubly_robust"] == pytest.approx(0.35)
    assert found["right_among_accepted"]["doubly_robust"] == pytest.approx(0.75)
    assert found["right_among_accepted"]["naive"] == 1.0
    assert found["accepted_among_right"]["doubly_robust"] == pytest.approx(4.5 / 6.5)


def test_a_graded_judge_makes_the_interval_narrower():
    # one stratum of 4 rows, 2 audited; predictions .9, .1, .9, .1: their differences are .1 and -.1
    unlabelled = audited(None, [1.0, 0.0, None, None], 0.5)
    rows = [{**row, "judge_label": p} for row, p in zip(unlabelled, [0.9, 0.1] * 2, strict=True)]
    right = estimates(rows)["right"]
    assert right["doubly_robust"] == pytest.approx((2.0 + 2 * (0.1 - 0.1)) / 4)
    # variance of the differences .02, of the labels .5
    assert right["high"] - right["low"] == pytest.approx(2 * NORMAL_95 * np.sqrt(16 * 0.5 * 0.02 / 2) / 4)
    assert (right["ht_low"], right["ht_high"]) == (0.0, 1.0)


def test_a_table_that_was_audited_whole_has_no_interval_and_a_judge_never_caught_has_one():
    whole = estimates(audited(0.8, [1.0, 0.0, 1.0, 1.0], 1.0))["right"]
    assert (whole["doubly_robust"], whole["low"], whole["high"]) == (pytest.approx(0.75),) * 3
    agreed = estimates(audited(1.0, [1.0] * 5 + [None] * 5, 0.5))["right"]
    assert (agreed["doubly_robust"], agreed["high"]) == (1.0, 1.0)
    # one differing row among six: variance 1/6; 100 * .5 * (1/6) / 5 / 100
    assert agreed["low"] == pytest.approx(1 - NORMAL_95 * np.sqrt(100 * 0.5 / 6 / 5) / 10)


def test_nothing_right_has_no_share_of_the_accepted_ones():
    found = estimates(audited(0.0, [0.0] * 4, 1.0))
    assert (found["right"]["doubly_robust"], found["accepted_among_right"]["doubly_robust"]) == (0.0, None)
    assert "right_among_accepted" not in found  # nothing was accepted
    empty = estimate(table(ESTIMATE_CURATION, []), EstimateParams())
    assert (empty.num_rows, empty.schema) == (0, ESTIMATE_WRITES)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (audited(1.0, [1.0, None, None, None], 0.5), "1 of 4 rows have a gold_label, which is 0.25, but"),
        (audited(1.0, [None, None], 0.5), "Stratum s has 2 rows and no gold_label"),
        (audited(1.0, [2.0, None], 0.5), "A gold_label is 2.0; it must be 0, 1, or null"),
        (audited(1.0, [1.0, None], None), "inclusion_probability is nan to nan"),
    ],
)
def test_an_audit_that_contradicts_its_design_is_an_error(rows, message):
    with pytest.raises(ReasonmillError, match=message):
        estimates(rows)


@pytest.mark.slow
def test_the_intervals_hold_the_truth_about_95_times_in_100_where_the_judge_alone_is_biased():
    rng = np.random.default_rng(0)
    gold = (rng.random(2000) < 0.55).astype(float)
    judge = np.clip(np.where(gold == 1, 0.75, 0.55) + rng.normal(0, 0.2, 2000), 0, 1)  # too kind to what is wrong
    population = labels(*judge)
    truth = {"right": gold.mean(), "judge_error": ((judge >= 0.5) != gold).mean()}
    inside = dict.fromkeys(truth, 0)
    centres = {name: [] for name in truth}
    num_draws, num_caught = 200, 0
    for seed in range(num_draws):
        drawn = draw(population, SampleParams(num_samples=200, seed=seed))
        is_sampled = drawn["is_sampled"].to_numpy(zero_copy_only=False)
        labelled = pa.array(np.where(is_sampled, gold, np.nan), from_pandas=True)
        rows = drawn.append_column("judge_label", population["judge_label"]).append_column("gold_label", labelled)
        found = {row["measure"]: row for row in estimate(rows, EstimateParams()).to_pylist()}
        for name, value in truth.items():
            inside[name] += found[name]["low"] <= value <= found[name]["high"]
            centres[name].append(found[name]["doubly_robust"])
        assert abs(found["right"]["naive"] - truth["right"]) > 0.08  # the judge alone is off, at every draw
        num_caught += not found["right"]["low"] <= found["right"]["naive"] <= found["right"]["high"]
    assert num_caught > 0.5 * num_draws  # and the interval says so
    for name, value in truth.items():
        assert 0.90 <= inside[name] / num_draws <= 0.99  # 95 % +- 3 standard errors of 200 draws
        spread = np.std(centres[name]) / np.sqrt(num_draws)
        assert abs(np.mean(centres[name]) - value) < 4 * spread  # unbiased
