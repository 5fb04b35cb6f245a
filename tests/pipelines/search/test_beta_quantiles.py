import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.search.beta_quantiles import beta_quantiles, midpoints, posterior_mean


def test_levels_are_the_midpoints_of_equal_parts():
    assert midpoints(1).tolist() == [0.5]
    assert midpoints(4).tolist() == [0.125, 0.375, 0.625, 0.875]


def test_without_completions_the_rate_is_uniform():
    assert beta_quantiles(0, 0, 4) == pytest.approx(midpoints(4).tolist())
    assert posterior_mean(0, 0) == 0.5


@pytest.mark.parametrize("n", [1, 4, 100])
def test_all_right_or_all_wrong_have_a_closed_form(n):
    """Beta(n + 1, 1) has the distribution x^(n + 1), Beta(1, n + 1) its mirror image."""
    assert beta_quantiles(n, n, 3) == pytest.approx([tau ** (1 / (n + 1)) for tau in midpoints(3)])
    assert beta_quantiles(0, n, 3) == pytest.approx([1 - (1 - tau) ** (1 / (n + 1)) for tau in midpoints(3)])


@given(st.integers(0, 60), st.integers(0, 60))
def test_quantiles_rise_mirror_each_other_and_narrow_with_evidence(right, wrong):
    quantiles = beta_quantiles(right, right + wrong, 3)
    assert 0 < quantiles[0] < quantiles[1] < quantiles[2] < 1
    assert quantiles == pytest.approx([1 - q for q in reversed(beta_quantiles(wrong, right + wrong, 3))])
    more = beta_quantiles(10 * right + 10, 10 * (right + wrong) + 20, 3)
    assert more[2] - more[0] < quantiles[2] - quantiles[0]


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="5 right of 4 completions"):
        beta_quantiles(5, 4, 3)
