import math

import pytest
import torch

from critics.losses import (
    PAIR_LOSSES,
    anchor_divergence,
    bag_loss,
    beta_binomial_loss,
    categorical_cross_entropy,
    generalised_cross_entropy,
    hl_gauss_targets,
    huber_quantile_loss,
    margin_contrast,
    plain_contrast,
    sibling_contrast,
    smoothed,
    transport_distance,
    two_hot_targets,
    weighted_bce,
    weighted_squared_error,
)

ONE = torch.tensor([1.0])


def test_weighted_bce_is_the_weighted_mean_of_soft_cross_entropies():
    # logit 0: ln 2 whatever the target; logit ln 3 is p = 3/4: target 1 costs -ln(3/4)
    loss = weighted_bce(torch.tensor([0.0, math.log(3)]), torch.tensor([0.3, 1.0]), torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((math.log(2) - 3 * math.log(0.75)) / 4, abs=1e-6)


def test_masked_nodes_do_not_enter_the_cross_entropy():
    loss = weighted_bce(torch.tensor([0.0, 50.0]), torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)
    assert weighted_bce(torch.tensor([5.0]), torch.tensor([0.0]), torch.tensor([0.0])).item() == 0.0


def test_sibling_contrast_is_bradley_terry_on_the_difference_of_logits():
    # differences 0 and ln 3: losses ln 2 and -ln(3/4); weights 1 and 3
    logits = torch.tensor([1.0, 1.0 + math.log(3), 1.0])
    loss = sibling_contrast(logits, torch.tensor([0, 1]), torch.tensor([2, 2]), torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((math.log(2) - 3 * math.log(0.75)) / 4, abs=1e-6)


def test_sibling_contrast_ignores_what_siblings_share():
    pairs = (torch.tensor([0]), torch.tensor([1]), torch.tensor([1.0]))
    here = sibling_contrast(torch.tensor([0.5, -0.5]), *pairs)
    assert here.item() == pytest.approx(sibling_contrast(torch.tensor([7.5, 6.5]), *pairs).item(), abs=1e-6)


def test_without_pairs_the_contrast_is_zero_and_still_has_a_gradient():
    logits = torch.tensor([1.0], requires_grad=True)
    none = torch.tensor([], dtype=torch.long)
    loss = sibling_contrast(logits, none, none, torch.tensor([]))
    loss.backward()
    assert (loss.item(), logits.grad.item()) == (0.0, 0.0)


def test_anchor_is_the_divergence_from_the_initial_verdict():
    # initial p = 3/4, now p = 1/2: KL = 3/4 ln(3/2) + 1/4 ln(1/2)
    loss = anchor_divergence(torch.tensor([0.0]), torch.tensor([math.log(3)]))
    assert loss.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-6)
    assert anchor_divergence(torch.tensor([2.0]), torch.tensor([2.0])).item() == pytest.approx(0.0, abs=1e-6)


def gradient_of(loss, outputs):
    """The gradient of a loss with regard to the outputs that it was computed from."""
    loss.backward()
    return outputs.grad


def test_squared_error_is_taken_on_the_probability():
    # sigmoid(0) = 1/2 against 1 and sigmoid(ln 3) = 3/4 against 0: (1/4 + 3 * 9/16) / 4
    logits = torch.tensor([0.0, math.log(3)], requires_grad=True)
    loss = weighted_squared_error(logits, torch.tensor([1.0, 0.0]), torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((0.25 + 3 * 0.5625) / 4)
    up, down = gradient_of(loss, logits).tolist()
    assert up < 0 < down


def test_generalised_cross_entropy_is_the_absolute_error_at_q_1_and_nears_the_cross_entropy_at_q_0():
    # p = 3/4 against 1: 1 - 3/4; against 0: 3/4
    logits = torch.tensor([math.log(3), math.log(3)])
    absolute = generalised_cross_entropy(logits, torch.tensor([1.0, 0.0]), torch.ones(2), q=1.0)
    assert absolute.item() == pytest.approx((0.25 + 0.75) / 2)
    assert generalised_cross_entropy(logits[:1], ONE, ONE, q=1e-3).item() == pytest.approx(-math.log(0.75), abs=1e-3)
    # q = 1/2: (1 - sqrt(3/4)) / (1/2)
    assert generalised_cross_entropy(logits[:1], ONE, ONE, q=0.5).item() == pytest.approx(2 * (1 - 0.75**0.5))


def test_a_label_that_contradicts_a_sure_verdict_pulls_less_than_with_cross_entropy():
    robust, plain = (torch.tensor([5.0], requires_grad=True) for _ in range(2))
    robust_pull = gradient_of(generalised_cross_entropy(robust, torch.tensor([0.0]), ONE, q=0.7), robust).item()
    plain_pull = gradient_of(weighted_bce(plain, torch.tensor([0.0]), ONE), plain).item()
    assert 0 < robust_pull < 0.1 < 0.9 < plain_pull


def test_categorical_cross_entropy_is_minus_the_mean_log_probability_of_the_target():
    # softmax(ln 1, ln 3) = (1/4, 3/4); target (1/2, 1/2)
    logits = torch.tensor([[0.0, math.log(3)]], requires_grad=True)
    loss = categorical_cross_entropy(logits, torch.tensor([[0.5, 0.5]]), ONE)
    assert loss.item() == pytest.approx(-0.5 * math.log(0.25) - 0.5 * math.log(0.75))
    # softmax minus target: (-1/4, 1/4)
    assert gradient_of(loss, logits)[0].tolist() == pytest.approx([-0.25, 0.25], abs=1e-6)


def test_padded_bins_keep_the_mean_of_a_label_at_the_edge_and_unpadded_ones_do_not():
    width = 0.05
    sigma = 0.75 * width

    def mean_at(y, low, high):
        num = round((high - low) / width)
        edges = low + width * torch.arange(num + 1)
        masses = hl_gauss_targets(torch.tensor([[y]]), edges, sigma)
        return (masses * (edges[:-1] + width / 2)).sum().item()

    assert mean_at(0.0, -0.15, 1.15) == pytest.approx(0.0, abs=3e-4)
    assert mean_at(1.0, -0.15, 1.15) == pytest.approx(1.0, abs=3e-4)
    # half a normal distribution has its mean at sigma sqrt(2 / pi) = 0.0299, here moved to the centres of its bins
    assert mean_at(0.0, 0.0, 1.0) == pytest.approx(sigma * math.sqrt(2 / math.pi), abs=0.005)


def test_hl_gauss_masses_are_differences_of_the_normal_distribution_function():
    # y = 0.5 between edges 0, 0.5, 1 with sigma 0.5: half on each side; y = 0: Phi(1) - Phi(0) = .3413 of .4772
    masses = hl_gauss_targets(torch.tensor([[0.5], [0.0]]), torch.tensor([0.0, 0.5, 1.0]), 0.5)
    assert masses[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)
    assert masses[1].tolist() == pytest.approx([0.34134 / 0.47725, 0.13591 / 0.47725], abs=1e-4)


def test_two_hot_splits_a_label_between_its_neighbours_and_keeps_the_mean():
    # atoms 0, 1/2, 1: 0.6 is 0.8 of the way from 1 to 1/2; 0 and 1 are atoms
    found = two_hot_targets(torch.tensor([[0.6], [0.0], [1.0]]), 3)
    assert found[0].tolist() == pytest.approx([0.0, 0.8, 0.2], abs=1e-6)
    assert found[1:].tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    # the distribution of two samples: C51's projection
    assert two_hot_targets(torch.tensor([[0.0, 0.75]]), 3)[0].tolist() == pytest.approx([0.5, 0.25, 0.25])


def test_quantile_loss_tilts_target_minus_quantile():
    # K = 2: tau = 1/4, 3/4; quantiles 0.2 and 0.8, target 0.5, no Huber: .25 * .3 + (1 - .75) * .3
    values = torch.tensor([[0.2, 0.8]], requires_grad=True)
    loss = huber_quantile_loss(values, torch.tensor([[0.5]]), ONE, kappa=0.0)
    assert loss.item() == pytest.approx(0.25 * 0.3 + 0.25 * 0.3)
    low, high = gradient_of(loss, values)[0].tolist()
    assert (low, high) == pytest.approx((-0.25, 0.25))  # the lower one rises, the upper one falls


def test_quantile_loss_is_quadratic_within_kappa_and_averages_over_samples():
    # tau = 1/2, u = +0.1 and -0.3, kappa 0.2: L = .005 and .2 (.3 - .1) = .04; both tilts 1/2
    loss = huber_quantile_loss(torch.tensor([[0.5]]), torch.tensor([[0.6, 0.2]]), ONE, kappa=0.2)
    assert loss.item() == pytest.approx((0.5 * 0.005 / 0.2 + 0.5 * 0.04 / 0.2) / 2)


def test_quantile_loss_takes_given_levels():
    # u = 1 - 0.5 = 0.5 at tau 0.9: 0.9 (0.5 - 0.05); u = 1 - 1.25 = -0.25 at tau 0.2: 0.8 (0.25 - 0.05); kappa 0.1
    values_NK, taus_NK = torch.tensor([[0.5, 1.25]]), torch.tensor([[0.9, 0.2]])
    loss = huber_quantile_loss(values_NK, torch.tensor([[1.0]]), torch.ones(1), 0.1, taus_NK)
    assert loss.item() == pytest.approx(0.9 * 0.45 + 0.8 * 0.2, abs=1e-6)


def test_quantile_regression_finds_the_quantiles_of_its_samples():
    samples = torch.linspace(0, 1, 101)[None]
    values = torch.full((1, 2), 0.5, requires_grad=True)
    optimiser = torch.optim.SGD([values], lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        huber_quantile_loss(values, samples, ONE, kappa=0.01).backward()
        optimiser.step()
    assert values[0].tolist() == pytest.approx([0.25, 0.75], abs=0.03)


def test_beta_binomial_likelihood_of_a_uniform_rate_is_one_over_n_plus_one():
    # Beta(1, 1): every count of 4 completions has probability 1/5; without the binomial coefficient C(4, 3) = 4
    loss = beta_binomial_loss(ONE, ONE, torch.tensor([3.0]), torch.tensor([4.0]), ONE)
    assert loss.item() == pytest.approx(-math.log(1 / 5 / 4), abs=1e-5)
    assert beta_binomial_loss(ONE, ONE, torch.tensor([0.0]), torch.tensor([0.0]), ONE).item() == pytest.approx(0.0)


def test_a_right_completion_raises_alpha_and_a_wrong_one_beta():
    for num_right, signs in ((1.0, (-1, 1)), (0.0, (1, -1))):
        alpha, beta = (torch.tensor([2.0], requires_grad=True) for _ in range(2))
        beta_binomial_loss(alpha, beta, torch.tensor([num_right]), ONE, ONE).backward()
        assert (alpha.grad.sign().item(), beta.grad.sign().item()) == signs


def test_transport_costs_the_distance_between_grades():
    # all mass on grade 0 of 0, 1/2, 1: grade 1/2 is half a unit away, grade 1 a whole one
    certain = torch.tensor([[60.0, 0.0, 0.0]])
    for grade, cost in ((0, 0.0), (1, 0.5), (2, 1.0)):
        target = torch.eye(3)[grade : grade + 1]
        assert transport_distance(certain, target, ONE).item() == pytest.approx(cost, abs=1e-6)


def test_label_smoothing_moves_every_label_towards_a_half():
    assert smoothed(torch.tensor([0.0, 0.5, 1.0]), 0.2).tolist() == pytest.approx([0.1, 0.5, 0.9])


def test_pair_losses_differ_in_what_they_do_with_strength():
    # differences 0 and ln 3 of strengths 1 and 3
    logits = torch.tensor([0.0, math.log(3)])
    pairs = (torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([1.0, 3.0]))
    draw, clear = math.log(2), -math.log(0.75)
    assert plain_contrast(logits, *pairs).item() == pytest.approx((draw + clear) / 2)
    assert PAIR_LOSSES["scaled"](logits, *pairs).item() == pytest.approx((draw + 3 * clear) / 4)
    # -log sigmoid(0 - 1) and -log sigmoid(ln 3 - 3)
    wide = [math.log1p(math.exp(1)), math.log1p(math.exp(3 - math.log(3)))]
    assert margin_contrast(logits, *pairs).item() == pytest.approx(sum(wide) / 2, abs=1e-6)


def test_a_bag_of_one_outcome_teaches_the_worst_step_or_all_of_them():
    values = torch.tensor([0.9, 0.5, 0.8])
    bags, outcome = torch.tensor([[0, 1], [2, -1]]), torch.tensor([0.0, 1.0])
    # min: 0.5 against 0 and 0.8 against 1; product: 0.45 against 0
    worst = bag_loss(values, bags, outcome, "min")
    assert worst.item() == pytest.approx((-math.log(0.5) - math.log(0.8)) / 2, abs=1e-5)
    product = bag_loss(values, bags, outcome, "product")
    assert product.item() == pytest.approx((-math.log(0.55) - math.log(0.8)) / 2, abs=1e-5)
    soft = bag_loss(values, bags, outcome, "soft_min")
    weights = [math.exp(-9), math.exp(-5)]
    pooled = (0.9 * weights[0] + 0.5 * weights[1]) / sum(weights)
    assert soft.item() == pytest.approx((-math.log(1 - pooled) - math.log(0.8)) / 2, abs=1e-5)


def test_a_wrong_outcome_lowers_the_worst_step_only_with_min_and_every_step_with_product():
    for pooling, expected in (("min", [False, True]), ("product", [True, True])):
        values = torch.tensor([0.9, 0.5], requires_grad=True)
        pull = gradient_of(bag_loss(values, torch.tensor([[0, 1]]), torch.tensor([0.0]), pooling), values)
        assert [p > 0 for p in pull.tolist()] == expected


def test_without_bags_the_bag_loss_is_zero_and_sure_values_stay_finite():
    assert bag_loss(torch.tensor([0.5]), torch.zeros((0, 0), dtype=torch.long), torch.zeros(0), "min").item() == 0.0
    certain = bag_loss(torch.tensor([1.0, 0.0]), torch.tensor([[0, 1]]), torch.tensor([1.0]), "product")
    assert math.isfinite(certain.item())
