import math

import pytest
import torch

from critics.losses import anchor_divergence, sibling_contrast, weighted_bce


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
