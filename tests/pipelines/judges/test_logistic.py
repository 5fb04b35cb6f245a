import numpy as np
import pytest

from pipelines.judges.logistic import fitted, sigma

ONES = np.ones(4)


def test_labels_that_follow_the_model_give_its_coefficients():
    features = np.array([[1.0, x] for x in (-20.0, -1.0, 0.5, 3.0, 15.0)])
    labels = sigma(features @ [0.3, -0.7])
    assert fitted(features, labels, np.ones(5), np.zeros(2), 1e-9) == pytest.approx([0.3, -0.7], abs=1e-5)


def test_a_weight_counts_as_that_many_rows():
    features, labels = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 2.0]]), np.array([0.0, 1.0, 1.0, 0.0])
    heavy = fitted(features[:3], labels[:3], np.array([2.0, 1.0, 1.0]), np.zeros(2), 0.5)
    assert heavy == pytest.approx(fitted(features[[0, 0, 1, 2]], labels[[0, 0, 1, 2]], ONES, np.zeros(2), 0.5))


def test_the_maximum_has_no_slope_also_where_the_start_is_far_and_saturated():
    features = np.array([[-13.8], [13.8], [-13.8], [13.8]])
    labels = np.array([1.0, 0.0, 0.0, 1.0])
    beta = fitted(features, labels, ONES, np.array([1.0]), 0.1)
    assert features.T @ (labels - sigma(features @ beta)) - 0.1 * (beta - 1.0) == pytest.approx([0.0], abs=1e-6)
    assert abs(beta[0]) < 0.01


def test_separable_labels_stay_finite_and_no_rows_leave_the_origin():
    separable = fitted(np.array([[-1.0], [1.0]]), np.array([0.0, 1.0]), np.ones(2), np.zeros(1), 0.01)
    assert 1.0 < separable[0] < 100.0
    assert fitted(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.array([1.0, 0.0]), 1.0).tolist() == [1.0, 0.0]
