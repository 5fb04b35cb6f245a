import math
import typing

import pytest
import torch

from critics.errors import CheckpointError
from critics.head_registry import READ_OFFS, head_as_json, head_from_json, head_of
from critics.heads import (
    HEADS,
    AttributesHead,
    BceHead,
    BetaHead,
    GradesHead,
    HlGaussHead,
    ImplicitQuantileHead,
    Labels,
    OutcomeClassesHead,
    QuantileHead,
    TwoHotHead,
    cvar,
    cvar_of_atoms,
    quantile,
    quantile_of_atoms,
)
from pipelines.config import CriticConfig

LN3 = math.log(3)
SMALL = [head() for head in HEADS.values()]


def make_labels(targets, *, weights=None, right=None, total=None, samples=None, grades=None, attributes=None) -> Labels:
    targets_N = torch.tensor(targets)
    zeros_N = torch.zeros_like(targets_N)
    return Labels(
        targets_N,
        torch.ones_like(targets_N) if weights is None else torch.tensor(weights),
        zeros_N if right is None else torch.tensor(right),
        zeros_N if total is None else torch.tensor(total),
        targets_N[:, None] if samples is None else torch.tensor(samples),
        torch.zeros((len(targets), 0)) if grades is None else torch.tensor(grades),
        torch.zeros((len(targets), 0)) if attributes is None else torch.tensor(attributes),
        zeros_N,
    )


def outputs_for(head, direction: float) -> torch.Tensor:
    """What the initial head gives where the language model's own logit is `direction`."""
    weight_KH, bias_K = head.initial(torch.tensor([1.0]))
    return (weight_KH @ torch.tensor([direction]) + bias_K)[None]


@pytest.mark.parametrize("head", SMALL, ids=lambda head: head.name)
def test_an_initial_head_orders_steps_as_the_language_model_does(head):
    means = [head.mean(outputs_for(head, d)).item() for d in (-3.0, -1.0, 0.0, 1.0, 3.0)]
    logits = [head.logit(outputs_for(head, d)).item() for d in (-3.0, -1.0, 0.0, 1.0, 3.0)]
    assert means == sorted(means) and logits == sorted(logits)
    assert len(set(means)) == 5
    assert means[2] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", ["bce", "mse", "gce", "beta"])
def test_heads_of_one_logit_start_from_the_language_models_own_probability(name):
    head = HEADS[name]()
    assert head.mean(outputs_for(head, math.log(3))).item() == pytest.approx(0.75)


@pytest.mark.parametrize("head", SMALL, ids=lambda head: head.name)
@pytest.mark.parametrize("target", [0.0, 1.0, 0.3])
def test_a_head_learns_a_label_and_stays_finite_at_the_ends(head, target):
    torch.manual_seed(0)
    outputs = outputs_for(head, 0.3).repeat(4, 1).requires_grad_()
    labels = make_labels([target] * 4, right=[10 * target] * 4, total=[10.0] * 4)
    optimiser = torch.optim.Adam([outputs], lr=0.3)
    for _ in range(60):
        optimiser.zero_grad()
        loss = head.loss(outputs, labels)
        loss.backward()
        optimiser.step()
    wanted = round(target) if head.name == "gce" and target == 0.3 else target  # the robust loss leans to the mode
    assert torch.isfinite(loss) and torch.isfinite(outputs).all()
    precision = 0.15 if head.name == "iqn" else 0.08  # it sees a few levels per step, drawn anew
    assert head.mean(outputs)[0].item() == pytest.approx(wanted, abs=precision)


@pytest.mark.parametrize("head", SMALL, ids=lambda head: head.name)
def test_a_node_of_weight_0_has_no_gradient_and_a_batch_of_them_costs_nothing(head):
    outputs = outputs_for(head, 0.3).repeat(2, 1).requires_grad_()
    head.loss(outputs, make_labels([1.0, 0.0], weights=[1.0, 0.0])).backward()
    assert outputs.grad[0].abs().sum() > 0
    assert outputs.grad[1].abs().sum() == 0
    assert head.loss(outputs, make_labels([1.0, 0.0], weights=[0.0, 0.0])).item() == 0.0


@pytest.mark.parametrize("head", SMALL, ids=lambda head: head.name)
def test_a_right_step_raises_the_mean_and_a_wrong_one_lowers_it(head):
    for target, is_raised in ((1.0, True), (0.0, False)):
        outputs = outputs_for(head, 0.3).requires_grad_()
        head.loss(outputs, make_labels([target])).backward()
        moved = head.mean(outputs - 0.01 * outputs.grad) - head.mean(outputs)
        assert (moved.item() > 0) == is_raised


@pytest.mark.parametrize("head", SMALL, ids=lambda head: head.name)
def test_read_offs_lie_in_the_unit_interval_and_a_cautious_one_is_no_higher(head):
    outputs = outputs_for(head, 0.7)
    values, probabilities = head.atoms(outputs)
    assert values.shape == probabilities.shape and values.min() >= 0 and values.max() <= 1
    assert probabilities.sum().item() == pytest.approx(1.0, abs=1e-5)
    low, mean, high = cvar(head, outputs, 0.1).item(), head.mean(outputs).item(), quantile(head, outputs, 0.9).item()
    assert 0 <= low <= mean + 1e-4 and mean <= high + 0.05 <= 1.05
    assert cvar(head, outputs, 1.0).item() == pytest.approx(mean, abs=0.01)


def test_quantiles_and_cvar_of_four_atoms_by_hand():
    # 0.1, 0.4, 0.6, 0.9 with probabilities 0.2, 0.3, 0.4, 0.1, in another order
    values = torch.tensor([[0.9, 0.1, 0.6, 0.4]])
    masses = torch.tensor([[0.1, 0.2, 0.4, 0.3]])
    assert [quantile_of_atoms(values, masses, tau).item() for tau in (0.0, 0.2, 0.21, 0.5, 0.95, 1.0)] == pytest.approx(
        [0.1, 0.1, 0.4, 0.4, 0.9, 0.9]
    )
    # lowest 0.35: 0.2 of 0.1 and 0.15 of 0.4
    assert cvar_of_atoms(values, masses, 0.35).item() == pytest.approx((0.2 * 0.1 + 0.15 * 0.4) / 0.35)
    with pytest.raises(ValueError, match="alpha = 0"):
        cvar_of_atoms(values, masses, 0.0)


def test_the_quantiles_never_cross_whatever_the_outputs():
    head = QuantileHead(num_quantiles=7)
    values = head.values(5 * torch.randn(100, 7, generator=torch.Generator().manual_seed(0)))
    assert (values.diff(dim=-1) >= 0).all()


def test_implicit_quantiles_are_cosine_curves_of_their_level():
    head = ImplicitQuantileHead(num_quantiles=2, num_cosines=3)
    outputs_NK = torch.tensor([[LN3, -1.0, 0.5]])
    # at 0 all cosines are 1: sigmoid(ln 3 - 0.5); at 1/2 they are 1, 0, -1: sigmoid(ln 3 - 0.5); at 1: 1, -1, 1
    found = head.quantiles_at(outputs_NK, torch.tensor([[0.0, 0.5, 1.0]]))[0].tolist()
    expected = [1 / (1 + math.exp(-z)) for z in (LN3 - 0.5, LN3 - 0.5, LN3 + 1.5)]
    assert found == pytest.approx(expected, abs=1e-6)


def test_implicit_quantiles_are_sorted_where_their_curve_falls():
    head = ImplicitQuantileHead(num_quantiles=2, num_cosines=2)
    # cos(pi / 4) = 0.70711 and cos(3 pi / 4) = -0.70711: the level 1/4 has the higher quantile
    falling = head.values(torch.tensor([[0.0, 1.0]]))[0].tolist()
    assert falling == pytest.approx([1 / (1 + math.exp(0.5**0.5)), 1 / (1 + math.exp(-(0.5**0.5)))], abs=1e-6)
    assert head.mean(torch.tensor([[0.0, 1.0]])).item() == pytest.approx(0.5, abs=1e-6)


def test_implicit_quantiles_learn_the_quantiles_of_their_samples():
    torch.manual_seed(0)
    head = ImplicitQuantileHead(num_quantiles=4, num_cosines=6)
    outputs_NK = torch.zeros(1, 6, requires_grad=True)
    optimiser = torch.optim.Adam([outputs_NK], lr=0.02)
    labels = make_labels([0.5], samples=[[0.1, 0.3, 0.7, 0.9]])
    for _ in range(1500):
        optimiser.zero_grad()
        head.loss(outputs_NK, labels).backward()
        optimiser.step()
    assert head.values(outputs_NK)[0].tolist() == pytest.approx([0.1, 0.3, 0.7, 0.9], abs=0.1)


def test_implicit_quantiles_draw_their_levels_in_training_only():
    head, labels = ImplicitQuantileHead(), make_labels([0.25, 1.0])
    outputs_NK = torch.randn(2, head.num_outputs, generator=torch.Generator().manual_seed(0))
    assert head.loss(outputs_NK, labels) == head.loss(outputs_NK, labels)
    outputs_NK.requires_grad_()
    assert head.loss(outputs_NK, labels) != head.loss(outputs_NK, labels)


def test_a_point_head_knows_of_no_spread():
    outputs = torch.tensor([[math.log(3)]])
    assert quantile(BceHead(), outputs, 0.1).item() == pytest.approx(0.75)
    assert cvar(BceHead(), outputs, 0.1).item() == pytest.approx(0.75)


def test_beta_reads_off_the_mean_spread_and_quantiles_of_its_distribution():
    # mean 1/2, concentration 2: uniform on [0, 1], variance 1/12, quantile tau = tau, CVaR at alpha = alpha / 2
    head, outputs = BetaHead(), torch.tensor([[0.0, math.log(2)]])
    assert head.mean(outputs).item() == 0.5
    assert head.spread(outputs).item() == pytest.approx(1 / 12)
    assert quantile(head, outputs, 0.3).item() == pytest.approx(0.3, abs=0.01)
    assert cvar(head, outputs, 0.4).item() == pytest.approx(0.2, abs=0.005)


def test_beta_is_surer_after_many_completions_than_after_few():
    spreads = []
    for total in (2.0, 100.0):
        head, outputs = BetaHead(), torch.tensor([[0.0, 0.7], [0.0, 0.7]], requires_grad=True)
        labels = make_labels([0.5, 0.5], right=[total / 2] * 2, total=[total] * 2)
        optimiser = torch.optim.Adam([outputs], lr=0.1)
        for _ in range(60):
            optimiser.zero_grad()
            head.loss(outputs, labels).backward()
            optimiser.step()
        spreads.append(head.spread(outputs)[0].item())
    assert spreads[1] < spreads[0]


def test_a_beta_label_without_counts_is_one_completion():
    head, outputs = BetaHead(), torch.tensor([[0.2, 0.7]])
    counted = head.loss(outputs, make_labels([1.0], right=[1.0], total=[1.0]))
    assert head.loss(outputs, make_labels([1.0])).item() == pytest.approx(counted.item())


def test_the_padding_of_hl_gauss_is_three_sigma_on_each_side():
    head = HlGaussHead(num_bins=51)
    assert head.edges[0] == pytest.approx(-2.25 * head.width)
    assert head.edges[-1] == pytest.approx(1 + 2.25 * head.width)


def test_grades_take_votes_of_right_and_wrong_as_the_end_grades():
    # 3 of 4 agents: 1/4 on grade 0, 3/4 on grade 1; uniform belief over 3 grades: |1/3 - 1/4| + |2/3 - 1/4|, over 2
    loss = GradesHead(3).loss(torch.zeros(1, 3), make_labels([0.75], grades=[[0.25, 0.75]]))
    assert loss.item() == pytest.approx((1 / 12 + 5 / 12) / 2, abs=1e-6)


def test_grades_without_votes_are_the_label_between_two_grades():
    # 0.25 between grades 0 and 1/2: (1/2, 1/2, 0); |1/3 - 1/2| + |2/3 - 1|, over 2
    loss = GradesHead(3).loss(torch.zeros(1, 3), make_labels([0.25]))
    assert loss.item() == pytest.approx((1 / 6 + 1 / 3) / 2, abs=1e-6)


def test_the_value_of_outcome_classes_is_the_chance_to_pass():
    head, outputs = OutcomeClassesHead(), torch.tensor([[0.0, 0.0, math.log(2)]])
    assert head.mean(outputs).item() == pytest.approx(0.5)
    assert torch.sigmoid(head.logit(outputs)).item() == pytest.approx(0.5)
    # an error of probability 1/4
    loss = head.loss(outputs, make_labels([0.0], grades=[[0.0, 1.0, 0.0]]))
    assert loss.item() == pytest.approx(math.log(4))


def test_an_attribute_has_an_output_of_its_own_and_an_unknown_one_no_gradient():
    head = AttributesHead(("outcome", "votes"))
    outputs = torch.zeros(2, 3, requires_grad=True)
    nan = float("nan")
    loss = head.loss(outputs, make_labels([1.0, 1.0], attributes=[[0.0, nan], [0.0, nan]]))
    assert loss.item() == pytest.approx(2 * math.log(2) / 3)  # ln 2, ln 2 and nothing
    loss.backward()
    assert outputs.grad.sign()[0].tolist() == [-1.0, 1.0, 0.0]
    assert head.mean(torch.tensor([[0.0, LN3, -LN3]])).item() == 0.5
    means = head.attribute_means(torch.tensor([[0.0, LN3, -LN3]]))
    assert {name: mean.item() for name, mean in means.items()} == pytest.approx({"outcome": 0.75, "votes": 0.25})


def test_two_hot_atoms_reach_from_0_to_1():
    values, _ = TwoHotHead(num_bins=6).atoms(torch.zeros(1, 6))
    assert values[0].tolist() == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_smoothing_smooths_every_form_of_a_label():
    labels = make_labels([1.0], right=[4.0], total=[4.0], grades=[[0.0, 1.0]]).smoothed(0.1)
    assert labels.targets_N.item() == pytest.approx(0.95)
    assert labels.right_N.item() == pytest.approx(3.8)
    assert labels.grades_NG[0].tolist() == pytest.approx([0.05, 0.95])


def test_every_head_of_the_configuration_is_built_and_survives_a_checkpoint():
    names = typing.get_args(CriticConfig.model_fields["head"].annotation)
    assert set(names) == set(HEADS)
    assert set(typing.get_args(CriticConfig.model_fields["read_off"].annotation)) == set(READ_OFFS)
    for name in names:
        attributes = ("outcome",) if name == "attributes" else ()
        head = head_of(CriticConfig(head=name, attributes=attributes, num_bins=21, num_quantiles=9, num_grades=3))
        assert head_from_json(head_as_json(head)) == head
    both = head_of(CriticConfig(ensemble=("bce", "quantile"), pooling="min"))
    assert head_from_json(head_as_json(both)) == both
    assert head_from_json(None) == BceHead()


def test_a_head_that_this_version_does_not_know_is_refused():
    with pytest.raises(CheckpointError, match="'name': 'cloud'"):
        head_from_json({"name": "cloud"})
    with pytest.raises(CheckpointError, match="'bins': 3"):
        head_from_json({"name": "two_hot", "bins": 3})


def test_attributes_without_their_head_are_refused():
    with pytest.raises(ValueError, match="belong together"):
        CriticConfig(attributes=("outcome",))
    with pytest.raises(ValueError, match="belong together"):
        CriticConfig(head="attributes")
    assert CriticConfig(ensemble=("bce", "attributes"), attributes=("outcome",)).attributes == ("outcome",)
