"""Where to draw problems from: both bandits on two arms."""

import math

import pytest
from curation_worlds import run_method


def samples(*given: tuple[str | None, float | None, int | None]) -> list[dict]:
    return [{"arm": arm, "advantage": advantage, "batch": batch} for arm, advantage, batch in given]


def test_dump_adds_a_bonus_for_few_samples_to_the_mean_absolute_advantage():
    rows = samples(("x", 1.0, 1), ("x", -1.0, 1), ("y", 0.0, 1), (None, 9.0, 1), ("x", None, 1))
    x, y = run_method("dump", rows, temperature=1.0)
    # N = 3: x 1 + sqrt(2 ln 4 / 3) = 1.9614, y 0 + sqrt(2 ln 4 / 2) = 1.1774
    assert (x["num_samples"], x["mean_advantage"], x["score"]) == (2, 1.0, pytest.approx(1.96135, abs=1e-5))
    assert y["score"] == pytest.approx(math.sqrt(math.log(4)))
    assert x["weight"] == pytest.approx(1 / (1 + math.exp(y["score"] - x["score"])))
    assert x["weight"] + y["weight"] == pytest.approx(1.0)


def test_dump_looks_at_the_latest_samples_but_counts_all():
    (x,) = run_method("dump", samples(("x", 1.0, 1), ("x", 0.0, 1), ("x", 0.5, 1)), window=2)
    assert (x["num_samples"], x["mean_advantage"], x["weight"]) == (3, 0.25, 1.0)


def test_sec_lets_old_batches_fade_and_changes_only_what_a_batch_has_seen():
    # x: 0 -> .5 * 1 = .5 -> .5 * .5 + .5 * 0 = .25; y is seen once: .5 * .4 = .2
    rows = samples(("x", 2.0, 1), ("x", 0.0, 1), ("x", 0.0, 2), ("y", -0.4, 2), ("y", 1.0, None))
    x, y = run_method("sec", rows, alpha=0.5)
    assert (x["learning_value"], x["num_samples"], x["num_batches"]) == (0.25, 3, 2)
    assert (y["learning_value"], y["num_samples"], y["num_batches"]) == (pytest.approx(0.2), 1, 1)
    assert x["weight"] == pytest.approx(1 / (1 + math.exp(-0.05)))


@pytest.mark.parametrize("name", ["dump", "sec"])
def test_no_samples_make_no_arms(name):
    assert run_method(name, []) == []
