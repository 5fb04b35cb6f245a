import pytest

from tests.benchmarks.dagster_share import covered


@pytest.mark.parametrize(
    ("spans", "length"),
    [([], 0.0), ([(1.0, 3.0)], 2.0), ([(1.0, 3.0), (2.0, 5.0), (7.0, 8.0)], 5.0), ([(0.0, 9.0), (1.0, 2.0)], 9.0)],
)
def test_overlapping_steps_are_counted_once(spans, length):
    assert covered(spans) == length
