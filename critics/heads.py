"""How a critic represents a value: a head is one small frozen class and one pure loss of `critics.losses`.

    name          K            belief about a value in [0, 1]                     paper
    bce           1            a point, sigmoid(z); cross-entropy                 Math-Shepherd, arXiv 2312.08935
    mse           1            a point, sigmoid(z); squared error                 ReST-MCTS*, arXiv 2406.03816
    gce           1            a point, sigmoid(z); robust to wrong labels        arXiv 1805.07836
    attributes    1 + A        a point for the label, one for each attribute      HelpSteer2, arXiv 2406.08673
    hl_gauss      num_bins     histogram, labels smeared by a normal              arXiv 2403.03950
    two_hot       num_bins     histogram on atoms from 0 to 1 (C51)               arXiv 1707.06887
    quantile      num_quantiles  quantiles that cannot cross                      QR-DQN, arXiv 1710.10044
    iqn           num_cosines  a quantile for any level, learned at drawn levels  IQN, arXiv 1806.06923
    beta          2            Beta distribution of the rate of right completions beta-binomial likelihood
    grades        num_grades   distribution over ordered grades of voters         DPRM, arXiv 2402.09764
    outcome_classes  3         fail, error, pass; the value is P(pass)            CodeRL, arXiv 2207.01780

Every belief is a set of atoms (values, probabilities): mean, any quantile and CVaR are read off them. A point head
knows of no spread, so all three are its point.

Invariant at step 0: with d = z(<right>) - z(<wrong>) the verdict of the language model (see `critics.model`), the
logit of bce, mse, gce and beta is d, and that of every other head rises with d and is about d near d = 0; so any head
starts from the order in which the language model itself puts steps.

Shapes: N nodes, K outputs per node, A atoms, S samples of a label, G grades, H hidden size.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from critics.losses import (
    beta_binomial_loss,
    categorical_cross_entropy,
    even_levels,
    generalised_cross_entropy,
    hl_gauss_targets,
    huber_quantile_loss,
    log_beta,
    smoothed,
    transport_distance,
    two_hot_targets,
    weighted_bce,
    weighted_squared_error,
)

EDGE = 1e-4  # a mean that is turned into a logit is kept this far from 0 and 1
HL_GAUSS_WIDTHS = 0.75  # sigma in bin widths (arXiv 2403.03950)
PADDING_SIGMAS = 3.0


@dataclass(frozen=True)
class Labels:
    """What is known of N nodes; every tensor has N rows."""

    targets_N: Tensor  # [0, 1]
    weights_N: Tensor  # 0 = masked
    right_N: Tensor  # graded completions that were right; fractions where the target is relative
    total_N: Tensor  # graded completions; 0 = the label is no count
    samples_NS: Tensor  # values whose distribution is the label; S = 1: the target itself
    grades_NG: Tensor  # share of votes per grade, lowest first; G = 0: nobody voted
    attributes_NA: Tensor  # further targets of the same nodes, [0, 1]; NaN = not known
    blocks_N: Tensor  # [0, 1), one number per problem: which members of an ensemble do not see it

    def smoothed(self, amount: float) -> "Labels":
        """The labels if `amount` of them were thrown by a coin (grades: by a die); counts and weights stay."""
        num_grades = max(1, self.grades_NG.shape[-1])
        return replace(
            self,
            targets_N=smoothed(self.targets_N, amount),
            samples_NS=smoothed(self.samples_NS, amount),
            right_N=(1 - amount) * self.right_N + amount * self.total_N / 2,
            grades_NG=(1 - amount) * self.grades_NG + amount / num_grades,
            attributes_NA=smoothed(self.attributes_NA, amount),
        )


class Head(Protocol):
    """One representation. Frozen: equal fields are equal heads, and the fields are what a checkpoint stores."""

    name: ClassVar[str]

    @property
    def num_outputs(self) -> int:
        """K, the outputs of the network per token."""

    def loss(self, outputs_NK: Tensor, labels: Labels) -> Tensor:
        """Scalar, mean over nodes by weight."""

    def mean(self, outputs_NK: Tensor) -> Tensor:
        """(N,), in [0, 1]: the score."""

    def logit(self, outputs_NK: Tensor) -> Tensor:
        """(N,), unbounded, rises with the mean: what pairs are compared by and the anchor holds."""

    def atoms(self, outputs_NK: Tensor) -> tuple[Tensor, Tensor]:
        """(values_NA in [0, 1], probabilities_NA that sum to 1)."""

    def initial(self, direction_H: Tensor) -> tuple[Tensor, Tensor]:
        """(weight_KH, bias_K) at step 0, where direction_H gives the language model's own logit."""


def quantile(head: Head, outputs_NK: Tensor, tau: float) -> Tensor:
    """The smallest atom with at least `tau` of the belief at or below it; tau = 0 is the lowest atom held possible."""
    return quantile_of_atoms(*head.atoms(outputs_NK), tau)


def cvar(head: Head, outputs_NK: Tensor, alpha: float) -> Tensor:
    """Mean of the lowest `alpha` of the belief (conditional value at risk); alpha = 1 is the mean of the atoms."""
    return cvar_of_atoms(*head.atoms(outputs_NK), alpha)


def quantile_of_atoms(values_NA: Tensor, probabilities_NA: Tensor, tau: float) -> Tensor:
    """Of atoms in any order."""
    values_NA, order_NA = values_NA.sort(dim=-1)
    below_NA = probabilities_NA.gather(-1, order_NA).cumsum(-1)
    first_N = (below_NA < tau - 1e-6).sum(-1, keepdim=True).clamp_max(values_NA.shape[-1] - 1)
    return values_NA.gather(-1, first_N)[..., 0]


def cvar_of_atoms(values_NA: Tensor, probabilities_NA: Tensor, alpha: float) -> Tensor:
    """Exact: the atom that straddles alpha counts with the part of it that lies below. alpha in (0, 1]."""
    if not 0 < alpha <= 1:
        raise ValueError(
            f"CVaR is asked at alpha = {alpha:g}; it is the mean of a share of the belief, above 0 up to 1"
        )
    values_NA, order_NA = values_NA.sort(dim=-1)
    sorted_NA = probabilities_NA.gather(-1, order_NA)
    before_NA = sorted_NA.cumsum(-1) - sorted_NA
    taken_NA = torch.minimum((alpha - before_NA).clamp_min(0), sorted_NA)
    return (taken_NA * values_NA).sum(-1) / taken_NA.sum(-1).clamp_min(1e-12)


# points -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BceHead:
    """One logit per token, soft targets: the default."""

    name: ClassVar[str] = "bce"
    num_outputs: ClassVar[int] = 1

    def loss(self, outputs_NK: Tensor, labels: Labels) -> Tensor:
        return weighted_bce(outputs_NK[:, 0], labels.targets_N, labels.weights_N)

    def mean(self, outputs_NK: Tensor) -> Tensor:
        return torch.sigmoid(outputs_NK[..., 0])

    def logit(self, outputs_NK: Tensor) -> Tensor:
        return outputs_NK[..., 0]

    def atoms(self, outputs_NK: Tensor) -> tuple[Tensor, Tensor]:
        return _point(self.mean(outputs_NK))

    def initial(self, direction_H: Tensor) -> tuple[Tensor, Tensor]:
        return direction_H[None], torch.zeros(1)


@dataclass(frozen=True)
class MseHead:
    """One logit per token through a sigmoid, squared error; the sigmoid keeps a value in [0, 1] (chosen here)."""

    name: ClassVar[str] = "mse"
    num_outputs: ClassVar[int] = 1

    def loss(self, outputs_NK: Tensor, labels: Labels) -> Tensor:
        return weighted_squared_error(outputs_NK[:, 0], labels.targets_N, labels.weights_N)

    def mean(self, outputs_NK: Tensor) -> Tensor:
        return torch.sigmoid(outputs_NK[..., 0])

    def logit(self, outputs_NK: Tensor) -> Tensor:
        return outputs_NK[..., 0]

    def atoms(self, outputs_NK: Tensor) -> tuple[Tensor, Tensor]:
        return _point(self.mean(outputs_NK))

    def initial(self, direction_H: Tensor) -> tuple[Tensor, Tensor]:
        return direction_H[None], torch.zeros(1)


@dataclass(frozen=True)
class GceHead:
    """One logit per token, generalised cross-entropy: for labels of which some are wrong."""

    q: float = 0.7  # arXiv 1805.07836; towards 0: cross-entropy, 1: absolute error

    name: ClassVar[str] = "gce"
    num_outputs: ClassVar[int] = 1

    def loss(self, outputs_NK: Tensor, labels: Labels) -> Tensor:
        return generalised_cross_entropy(outputs_NK[:, 0], labels.targets_N, labels.weights_N, self.q)

    def mean(self, outputs_NK: Tensor) -> Tensor:
        return torch.sigmoid(outputs_NK[..., 0])

    def logit(self, outputs_NK: Tensor) -> Tensor:
        return outputs_NK[..., 0]

    def atoms(self, outputs_NK: Tensor) -> tuple[Tensor, Tensor]:
        return _point(self.mean(outputs_NK))

    def initial(self, direction_H: Tensor) -> tuple[Tensor, Tensor]:
        return direction_H[None], torch.zeros(1)


@dataclass(frozen=True)
class AttributesHead:
    """One logit for the label and one for each further attribute of the step; the score is the label's.

    Attributes are other label sources' targets of the same nodes (`process_critic.attributes`), each learned by
    cross-entropy; the loss is the mean over label and attributes, an attribute that is not known of a node counts there
    with weight 0.
    """

    attributes: tuple[str, ...] = ()

    name: ClassVar[str] = "attributes"

    @property
    def num_outputs(self) -> int:
        return 1 + len(self.attributes)

    def loss(self, outputs_NK: Tensor, labels: Labels) -> Tensor:
        losses = [weighted_bce(outputs_NK[:, 0], labels.targets_N, labels.weights_N)]
        for index in range(labels.attributes_NA.shape[-1]):
            targets_N = labels.attributes_NA[:, index]
            weights_N = labels.weights_N.masked_fill(targets_N.isnan(), 0.0)
            losses.append(weighted_bce(outputs_NK[:, 1 + index], targets_N.nan_to_num(0.5), weights_N))
        return torch.stack(losses).mean()

    def mean(self, outputs_NK: Tensor) -> Tensor:
        return torch.sigmoid(outputs_NK[..., 0])

    def attribute_means(self, outputs_NK: Tensor) -> dict[str, Tensor]:
        """Attribute -> (N,), in [0, 1]."""
        return {name: torch.sigmoid(outputs_NK[..., 1 + index]) for index, name in enumerate(self.attributes)}

    def logit(self, outputs_NK: Tensor) -> Tensor:
        return outputs_NK[..., 0]

    def atoms(self, outputs_NK: Tensor) -> tuple[Tensor, Tensor]:
        return _point(self.mean(outputs_NK))

    def initial(self, direction_H: Tensor) -> tuple[Tensor, Tensor]:
        """Every attribute starts from the language model's verdict."""
        return direction_H.repeat(self.num_outputs, 1), torch.zeros(self.num_outputs)


# distributions ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HlGaussHead:
    """A histogram whose bins reach 3 sigma beyond 0 and 1; sigma is 0.75 bin widths.

    With m bins of width w the support is 1 + 2 * 3 * 0.75 w = m w wide, so w = 1 / (m - 4.5).
    """

    num_bins: int = 51

    name: ClassVar[str] = "hl_gauss"

    @property
    def num_outputs(self) -> int:
        return self.num_bins

    @property
    def width(self) -> float:
        return 1 / (self.num_bins - 2 * PADDING_SIGMAS * HL_GAUSS_WIDTHS)

    @property
    def edges(self) -> list[float]:
        low = -PADDING_SIGMAS * HL_GAUSS_WIDTHS * self.width
        return [low + i * self.width for i in range(self.num_bins + 1)]

    @property
    def centres(self) -> list[float]:
        return [edge + self.width / 2 for edge in self.edges[:-1]]

    def loss(self, outputs_NK: Tensor, labels: Labels) -> Tensor:
        edges_E = torch.tensor(self.edges, device=outputs_NK.device)
        targets_NK = hl_gauss_targets(labels.samples_NS, edges_E, HL_GAUSS_WIDTHS * self.width)
        return categorical_cross_entropy(outputs_NK, targets_NK, labels.weights_N)

    def mean(self, outputs_NK: Tensor) -> Tensor:
        centres_K = torch.tensor(self.centres, device=outputs_NK.device)
        return (torch.softmax(outputs_NK, -1) * centres_K).sum(-1).clamp(0, 1)

    def logit(self, outputs_NK: Tensor) -> Tensor:
        return _logit(self.mean(outputs_NK))

    def atoms(self, outputs_NK: Tensor) -> tuple[Tensor, Tensor]:
        centres_K = torch.tensor(self.centres, device=outputs_NK.device).clamp(0, 1)
        return centres_K.expand_as(outputs_NK), torch.softmax(outputs_NK, -1)

    def initial(self, direction_H: Tensor) -> tuple[Tensor, Tensor]:
        return _tilted(direction_H, self.centres)


@dataclass(frozen=True)
class TwoHotHead:
    """A histogram on atoms at 0 .. 1. The end points are atoms, so 0 and 1 are hit exactly and need no padding."""

    num_bins: int = 51

    name: ClassVar[str] = "two_hot"

    @property
    def num_outputs(self) -> int:
        return self.num_bins

    def loss(self, outputs_NK: Tensor, labels: Labels) -> Tensor:
        targets_NK = two_hot_targets(labels.samples_NS, self.num_bins)
        return categorical_cross_entropy(outputs_NK, targets_NK, labels.weights_N)

    def mean(self, outputs_NK: Tensor) -> Tensor:
        return (torch.softmax(outputs_NK, -1) * _grid(outputs_NK)).sum(-1).clamp(0, 1)

    def logit(self, outputs_NK: Tensor) -> Tensor:
        return _logit(self.mean(outputs_NK))

    def atoms(self, outputs_NK: Tensor) -> tuple[Tensor, Tensor]:
        return _grid(outputs_NK).expand_as(outputs_NK), torch.softmax(outputs_NK, -1)

    def initial(self, direction_H: Tensor) -> tuple[Tensor, Tensor]:
        return _tilted(direction_H, [i / (self.num_bins - 1) for i in range(self.num_bins)])


@dataclass(frozen=True)
class QuantileHead:
    """K quantiles at (2i - 1) / 2K: logits z_1, z_1 + softplus(o_2), .. through a sigmoid, so they never cross.

    kappa is 0.05 and not QR-DQN's 1: for values in [0, 1] no error exceeds 1, so with kappa = 1 the loss would be
    quadratic everywhere and its minimiser an expectile, not a quantile.
    """

    num_quantiles: int = 25
    kappa: float = 0.05

    name: ClassVar[str] = "quantile"

    @property
    def num_outputs(self) -> int:
        return self.num_quantiles

    def loss(self, outputs_NK: Tensor, labels: Labels) -> Tensor:
        return huber_quantile_loss(self.values(outputs_NK), labels.samples_NS, labels.weights_N, self.kappa)

    def values(self, outputs_NK: Tensor) -> Tensor:
        """The quantiles, rising, in [0, 1]."""
        rises = F.softplus(outputs_NK[..., 1:])
        return torch.sigmoid(torch.cat([outputs_NK[..., :1], rises], -1).cumsum(-1))

    def mean(self, outputs_NK: Tensor) -> Tensor:
        return self.values(outputs_NK).mean(-1)

    def logit(self, outputs_NK: Tensor) -> Tensor:
        return _logit(self.mean(outputs_NK))

    def atoms(self, outputs_NK: Tensor) -> tuple[Tensor, Tensor]:
        values_NK = self.values(outputs_NK)
        return values_NK, torch.full_like(values_NK, 1 / self.num_quantiles)

    def initial(self, direction_H: Tensor) -> tuple[Tensor, Tensor]:
        """The quantiles' logits stand evenly from 1 below the language model's logit to 1 above."""
        rise = 2 / (self.num_quantiles - 1)
        weight_KH = torch.zeros(self.num_quantiles, len(direction_H))
        weight_KH[0] = direction_H
        bias_K = torch.full((self.num_quantiles,), math.log(math.expm1(rise)))
        bias_K[0] = -1.0
        return weight_KH, bias_K


@dataclass(frozen=True)
class ImplicitQuantileHead:
    """A quantile for every level tau in [0, 1]: the outputs are coefficients o_i of the cosine embedding of tau,

        q(tau) = sigmoid(sum_i o_i cos(pi i tau)),    i = 0 .. num_cosines - 1

    Training draws num_taus levels per node from all of [0, 1] (Huber quantile loss at those); validation and scores
    read num_quantiles even levels, sorted, because nothing else keeps the curve from falling. IQN (arXiv 1806.06923)
    passes the embedding through a learned layer before the product with the state, which is left out: so the head is
    linear, and any server of token classifiers can evaluate it. One cosine: a point. kappa: see QuantileHead.
    """

    num_quantiles: int = 25
    num_cosines: int = 16
    num_taus: int = 8
    kappa: float = 0.05

    name: ClassVar[str] = "iqn"

    @property
    def num_outputs(self) -> int:
        return self.num_cosines

    def loss(self, outputs_NK: Tensor, labels: Labels) -> Tensor:
        num_nodes = len(outputs_NK)
        if outputs_NK.requires_grad:
            taus_NT = torch.rand(num_nodes, self.num_taus).to(outputs_NK.device)
        else:
            taus_NT = even_levels(self.num_quantiles, outputs_NK.device).expand(num_nodes, -1)
        values_NT = self.quantiles_at(outputs_NK, taus_NT)
        return huber_quantile_loss(values_NT, labels.samples_NS, labels.weights_N, self.kappa, taus_NT)

    def quantiles_at(self, outputs_NK: Tensor, taus_NT: Tensor) -> Tensor:
        """(N, T), in [0, 1]: the quantile at each level; may fall between levels."""
        orders_K = torch.arange(self.num_cosines, device=outputs_NK.device)
        embedded_NTK = torch.cos(math.pi * taus_NT[..., None] * orders_K)
        return torch.sigmoid((embedded_NTK * outputs_NK[..., None, :]).sum(-1))

    def values(self, outputs_NK: Tensor) -> Tensor:
        """The quantiles at even levels, rising, in [0, 1]."""
        taus_T = even_levels(self.num_quantiles, outputs_NK.device)
        return self.quantiles_at(outputs_NK, taus_T.expand(*outputs_NK.shape[:-1], -1)).sort(-1).values

    def mean(self, outputs_NK: Tensor) -> Tensor:
        return self.values(outputs_NK).mean(-1)

    def logit(self, outputs_NK: Tensor) -> Tensor:
        return _logit(self.mean(outputs_NK))

    def atoms(self, outputs_NK: Tensor) -> tuple[Tensor, Tensor]:
        values_NT = self.values(outputs_NK)
        return values_NT, torch.full_like(values_NT, 1 / self.num_quantiles)

    def initial(self, direction_H: Tensor) -> tuple[Tensor, Tensor]:
        """The quantiles' logits rise from 1 below the language model's logit to 1 above: d - cos(pi tau)."""
        weight_KH, bias_K = torch.zeros(self.num_cosines, len(direction_H)), torch.zeros(self.num_cosines)
        weight_KH[0] = direction_H
        bias_K[1:2] = -1.0
        return weight_KH, bias_K


@dataclass(frozen=True)
class BetaHead:
    """Beta(alpha, beta) over the rate of right completions: mean sigmoid(o_1), concentration alpha + beta = exp(o_2).

    Learns from counts, so 1 of 2 and 50 of 100 are different labels of one mean. Its spread says how much rates of
    steps that look like this one differ and how few completions stood behind them (aleatoric); it is one network's
    answer, and not what several networks would disagree about (see `critics.ensembles`). A label without counts is
    taken as one completion that was right by its target.
    """

    max_concentration: float = 200.0

    name: ClassVar[str] = "beta"
    num_outputs: ClassVar[int] = 2

    def parameters(self, outputs_NK: Tensor) -> tuple[Tensor, Tensor]:
        """(alphas_N, betas_N)."""
        ceiling = math.log(self.max_concentration)
        concentration = outputs_NK[..., 1].clamp(-ceiling, ceiling).exp()
        mean = torch.sigmoid(outputs_NK[..., 0]).clamp(EDGE, 1 - EDGE)
        return mean * concentration, (1 - mean) * concentration

    def loss(self, outputs_NK: Tensor, labels: Labels) -> Tensor:
        alphas_N, betas_N = self.parameters(outputs_NK)
        is_count_N = labels.total_N > 0
        right_N = torch.where(is_count_N, labels.right_N, labels.targets_N)
        total_N = torch.where(is_count_N, labels.total_N, torch.ones_like(labels.total_N))
        return beta_binomial_loss(alphas_N, betas_N, right_N, total_N, labels.weights_N)

    def mean(self, outputs_NK: Tensor) -> Tensor:
        return torch.sigmoid(outputs_NK[..., 0])

    def logit(self, outputs_NK: Tensor) -> Tensor:
        return outputs_NK[..., 0]

    def spread(self, outputs_NK: Tensor) -> Tensor:
        """Variance m (1 - m) / (alpha + beta + 1)."""
        alphas_N, betas_N = self.parameters(outputs_NK)
        total_N = alphas_N + betas_N
        return alphas_N * betas_N / (total_N**2 * (total_N + 1))

    def atoms(self, outputs_NK: Tensor) -> tuple[Tensor, Tensor]:
        """2,003 atoms, evenly spaced by 0.04 in logits (at most 0.01 in values), what lies beyond them at 0 and 1."""
        alphas_N1, betas_N1 = (one[..., None] for one in self.parameters(outputs_NK))
        logits_A = torch.linspace(-40, 40, 2001, device=outputs_NK.device)
        density_NA = alphas_N1 * F.logsigmoid(logits_A) + betas_N1 * F.logsigmoid(-logits_A)
        constant_N1 = log_beta(alphas_N1, betas_N1)
        inner_NA = (density_NA - constant_N1).exp() * 0.04
        tails_N2 = [(-40 * side - side.log() - constant_N1).exp() for side in (alphas_N1, betas_N1)]
        masses_NA = torch.cat([tails_N2[0], inner_NA, tails_N2[1]], -1)
        values_A = torch.cat([logits_A.new_zeros(1), torch.sigmoid(logits_A), logits_A.new_ones(1)])
        return values_A.expand_as(masses_NA), masses_NA / masses_NA.sum(-1, keepdim=True)

    def initial(self, direction_H: Tensor) -> tuple[Tensor, Tensor]:
        """Concentration 2, that of a uniform distribution where the language model is undecided."""
        return torch.stack([direction_H, torch.zeros_like(direction_H)]), torch.tensor([0.0, math.log(2)])


@dataclass(frozen=True)
class GradesHead:
    """A distribution over the ordered grades that voters give, at 0, 1 / (K - 1) .. 1; loss: optimal transport.

    Votes of right or wrong are the highest and the lowest grade; other votes need as many grades as the head has. A
    label without votes is its target between the two nearest grades.
    """

    num_grades: int = 5

    name: ClassVar[str] = "grades"

    @property
    def num_outputs(self) -> int:
        return self.num_grades

    def loss(self, outputs_NK: Tensor, labels: Labels) -> Tensor:
        targets_NK, num_grades = labels.grades_NG, labels.grades_NG.shape[-1]
        if num_grades == 2:  # right or wrong: the highest and the lowest grade
            targets_NK = torch.cat([targets_NK[:, :1], targets_NK.new_zeros(len(targets_NK), self.num_grades - 2),
                                    targets_NK[:, 1:]], -1)  # fmt: skip
        elif num_grades != self.num_grades:
            targets_NK = two_hot_targets(labels.samples_NS, self.num_grades)
        return transport_distance(outputs_NK, targets_NK, labels.weights_N)

    def mean(self, outputs_NK: Tensor) -> Tensor:
        return (torch.softmax(outputs_NK, -1) * _grid(outputs_NK)).sum(-1).clamp(0, 1)

    def logit(self, outputs_NK: Tensor) -> Tensor:
        return _logit(self.mean(outputs_NK))

    def atoms(self, outputs_NK: Tensor) -> tuple[Tensor, Tensor]:
        return _grid(outputs_NK).expand_as(outputs_NK), torch.softmax(outputs_NK, -1)

    def initial(self, direction_H: Tensor) -> tuple[Tensor, Tensor]:
        return _tilted(direction_H, [i / (self.num_grades - 1) for i in range(self.num_grades)])


@dataclass(frozen=True)
class OutcomeClassesHead:
    """fail, error, pass: classes without an order between the first two; the value is P(pass).

    A label without classes is pass by its target, else fail.
    """

    name: ClassVar[str] = "outcome_classes"
    num_outputs: ClassVar[int] = 3

    def loss(self, outputs_NK: Tensor, labels: Labels) -> Tensor:
        targets_NK = labels.grades_NG
        if targets_NK.shape[-1] != 3:
            passed_N = labels.targets_N
            targets_NK = torch.stack([1 - passed_N, torch.zeros_like(passed_N), passed_N], -1)
        return categorical_cross_entropy(outputs_NK, targets_NK, labels.weights_N)

    def mean(self, outputs_NK: Tensor) -> Tensor:
        return torch.softmax(outputs_NK, -1)[..., 2]

    def logit(self, outputs_NK: Tensor) -> Tensor:
        return outputs_NK[..., 2] - outputs_NK[..., :2].logsumexp(-1)

    def atoms(self, outputs_NK: Tensor) -> tuple[Tensor, Tensor]:
        return _point(self.mean(outputs_NK))

    def initial(self, direction_H: Tensor) -> tuple[Tensor, Tensor]:
        """pass against fail is the language model's verdict; an error is held for unlikely, e^-4 of a fail."""
        return torch.stack([0 * direction_H, 0 * direction_H, direction_H]), torch.tensor([0.0, -4.0, 0.0])


HEADS: dict[str, type[Head]] = {
    head.name: head
    for head in (
        BceHead, MseHead, GceHead, AttributesHead, HlGaussHead, TwoHotHead, QuantileHead, ImplicitQuantileHead,
        BetaHead, GradesHead, OutcomeClassesHead,
    )
}  # fmt: skip
"""Name in the configuration and in a checkpoint -> head."""


def _point(mean_N: Tensor) -> tuple[Tensor, Tensor]:
    return mean_N[..., None], torch.ones_like(mean_N)[..., None]


def _logit(mean_N: Tensor) -> Tensor:
    return torch.logit(mean_N.clamp(EDGE, 1 - EDGE))


def _grid(outputs_NK: Tensor) -> Tensor:
    return torch.linspace(0, 1, outputs_NK.shape[-1], device=outputs_NK.device)


def _tilted(direction_H: Tensor, centres: list[float]) -> tuple[Tensor, Tensor]:
    """Logits s (c_k - 1/2) d: the mean rises with d, at d = 0 as steeply as sigmoid(d): its slope is s var(c)."""
    offsets_K = torch.tensor(centres) - 0.5
    slope = 0.25 / offsets_K.var(correction=0)
    return slope * offsets_K[:, None] * direction_H, torch.zeros(len(centres))
