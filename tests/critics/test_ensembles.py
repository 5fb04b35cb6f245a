import math

import pytest
import torch

from critics.ensembles import (
    EnsembleHead,
    disagreement,
    truncated_mean,
    vote_on_pairs,
    weighted_quantiles,
)
from critics.head_registry import head_as_json, head_from_json
from critics.heads import BceHead, BetaHead, QuantileHead, cvar
from pipelines.config import CriticConfig
from tests.critics.test_heads import make_labels, outputs_for

LN3 = math.log(3)


def test_three_poolings_of_two_point_heads():
    # means 3/4 and 1/4
    outputs = torch.tensor([[LN3, -LN3]])
    members = (BceHead(), BceHead())
    assert EnsembleHead(members, "mean").mean(outputs).item() == pytest.approx(0.5)
    assert EnsembleHead(members, "min").mean(outputs).item() == pytest.approx(0.25)
    # the highest fifth is dropped: (0.5 * 1/4 + 0.3 * 3/4) / 0.8
    assert EnsembleHead(members, "truncated", 0.2).mean(outputs).item() == pytest.approx((0.125 + 0.225) / 0.8)


def test_quantile_functions_of_the_members_are_averaged_by_weight():
    # points at 3/4 and 1/4, the first three times as heavy: a point at 5/8, where the atoms together are two points
    outputs = torch.tensor([[LN3, -LN3]])
    head = EnsembleHead((BceHead(), BceHead()), "quantiles", member_weights=(3.0, 1.0))
    assert head.mean(outputs).item() == pytest.approx(0.625)
    assert cvar(head, outputs, 0.1).item() == pytest.approx(0.625)
    assert EnsembleHead(head.members, "quantiles").mean(outputs).item() == pytest.approx(0.5)
    assert cvar(EnsembleHead(head.members, "mean"), outputs, 0.1).item() == pytest.approx(0.25)


def test_averaged_quantile_heads_are_the_average_of_their_quantiles():
    members = (QuantileHead(num_quantiles=25), QuantileHead(num_quantiles=25))
    outputs = torch.randn(1, 50, generator=torch.Generator().manual_seed(1))
    head = EnsembleHead(members, "quantiles", member_weights=(3.0, 1.0))
    values = [member.values(part)[0].tolist() for member, part in zip(members, outputs.split(25, -1), strict=True)]
    assert head.atoms(outputs)[0][0].tolist() == pytest.approx(weighted_quantiles(values, [3.0, 1.0]), abs=1e-6)
    assert head_from_json(head_as_json(head)) == head


def test_weights_of_members_need_their_pooling_and_one_per_member():
    ensemble = {"ensemble": ("bce", "beta"), "pooling": "quantiles"}
    assert CriticConfig(**ensemble, member_weights=(2.0, 0.0)).member_weights == (2.0, 0.0)
    for wrong in ({"member_weights": (1.0,)}, {"member_weights": (1.0, 1.0), "pooling": "mean"}):
        with pytest.raises(ValueError, match="numbers for 2 members"):
            CriticConfig(**ensemble | wrong)
    with pytest.raises(ValueError, match="each must be at least 0, and not all 0"):
        CriticConfig(**ensemble, member_weights=(0.0, 0.0))


def test_truncated_pooling_of_quantile_heads_is_tqc_on_their_atoms():
    members = (QuantileHead(num_quantiles=5), QuantileHead(num_quantiles=5))
    outputs = torch.randn(1, 10, generator=torch.Generator().manual_seed(1))
    head = EnsembleHead(members, "truncated", dropped=2 / 5)
    atoms = [member.values(part)[0].tolist() for member, part in zip(members, outputs.split(5, -1), strict=True)]
    assert head.mean(outputs).item() == pytest.approx(truncated_mean(atoms, 2), abs=1e-6)


def test_the_atoms_of_all_members_are_pooled_before_the_highest_are_dropped():
    # drop one atom per member: 0.9 and 0.8 go, both of the first member
    assert truncated_mean([[0.8, 0.9], [0.1, 0.2]], 1) == pytest.approx(0.15)
    assert truncated_mean([[0.8, 0.9], [0.1, 0.2]], 0) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="leaves none of 4"):
        truncated_mean([[0.8, 0.9], [0.1, 0.2]], 2)


def test_disagreement_is_the_variance_of_the_members_means():
    head = EnsembleHead((BceHead(), BceHead()))
    assert head.disagreement(torch.tensor([[LN3, -LN3]])).item() == pytest.approx(1 / 16)
    assert disagreement([0.75, 0.25]) == pytest.approx(1 / 16)
    assert disagreement([0.75]) is None


def test_the_spread_of_beta_heads_is_not_taken_for_disagreement():
    # two members that say Beta(1, 1), variance 1/12 each, agree; two that are sure of 3/4 and 1/4 do not
    head = EnsembleHead((BetaHead(), BetaHead()))
    unsure, sure = math.log(2), math.log(200)
    agree = torch.tensor([[0.0, unsure, 0.0, unsure]])
    assert BetaHead().spread(agree[:, :2]).item() == pytest.approx(1 / 12)
    assert head.disagreement(agree).item() == 0.0
    differ = torch.tensor([[LN3, sure, -LN3, sure]])
    assert BetaHead().spread(differ[:, :2]).item() < 0.001
    assert head.disagreement(differ).item() == pytest.approx(1 / 16)


def test_members_of_mixed_kinds_start_alike_but_not_equal():
    head = EnsembleHead((BceHead(), QuantileHead(), BetaHead()))
    assert head.num_outputs == 1 + 25 + 2
    direction = torch.randn(64, generator=torch.Generator().manual_seed(0))
    weight_KH, bias_K = head.initial(direction)
    hidden = torch.randn(64, generator=torch.Generator().manual_seed(1)) / 8
    means = head.means((weight_KH @ hidden + bias_K)[None])[:, 0].tolist()
    assert len(set(means)) == 3
    assert max(means) - min(means) < 0.2
    assert torch.equal(head.initial(direction)[0], weight_KH)


def test_every_member_leaves_its_own_block_of_problems_out():
    head = EnsembleHead((BceHead(), BceHead()))
    outputs = torch.zeros(2, 2, requires_grad=True)
    labels = make_labels([1.0, 1.0])
    labels.blocks_N.copy_(torch.tensor([0.1, 0.9]))  # the first problem is in block 0, the second in block 1
    head.loss(outputs, labels).backward()
    assert (outputs.grad != 0).tolist() == [[False, True], [True, False]]


def test_a_single_member_sees_every_problem():
    outputs = torch.zeros(2, 1, requires_grad=True)
    EnsembleHead((BceHead(),)).loss(outputs, make_labels([1.0, 1.0])).backward()
    assert (outputs.grad != 0).all()


def test_pooled_beliefs_are_read_off_like_those_of_one_head():
    head = EnsembleHead((BceHead(), BceHead()))
    outputs = torch.tensor([[LN3, -LN3]])
    assert cvar(head, outputs, 0.5).item() == pytest.approx(0.25)
    assert cvar(head, outputs, 1.0).item() == pytest.approx(0.5)


def test_a_pair_is_as_strong_as_the_critics_say_on_average():
    # gaps 0.4, 0.2 and -0.1, -0.3
    chosen, rejected = [[0.9, 0.4], [0.8, 0.3]], [[0.5, 0.5], [0.6, 0.6]]
    strong, doubtful = vote_on_pairs(chosen, rejected)
    assert (strong.mean, strong.std) == pytest.approx((0.3, 0.1))
    assert (doubtful.mean, doubtful.std) == pytest.approx((-0.2, 0.1))
    with pytest.raises(ValueError, match="1 critic cannot vote"):
        vote_on_pairs(chosen[:1], rejected[:1])


def test_quantile_functions_are_averaged_by_weight_and_keep_rising():
    assert weighted_quantiles([[0.0, 0.4], [0.8, 1.0]], [3, 1]) == pytest.approx([0.2, 0.55])
    with pytest.raises(ValueError, match="cannot average 1 members"):
        weighted_quantiles([[0.0]], [0.0])


def test_the_logit_of_an_ensemble_teaches_every_member_from_a_pair():
    head = EnsembleHead((BceHead(), BetaHead()))
    outputs = outputs_for(head, 0.3).requires_grad_()
    head.logit(outputs).sum().backward()
    assert outputs.grad[0, :2].tolist() == [0.5, 0.5]
