"""Losses of critics: tensors in, one scalar tensor out, nothing else.

Shapes: N labelled nodes of a batch, P pairs among them, G bags of at most M nodes, K outputs per node, S samples of a
label, A atoms. Logits are unbounded, targets in [0, 1]. Every mean is weighted: a node of weight 0 has no gradient, and
a batch in which all weights are 0 costs 0.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# how a node's value is learned ------------------------------------------------------------------------


def weighted_bce(logits_N: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
    """Binary cross-entropy with soft targets, mean over nodes by weight; 0 where all weights are 0."""
    losses_N = F.binary_cross_entropy_with_logits(logits_N, targets_N, reduction="none")
    return weighted_mean(losses_N, weights_N)


def weighted_squared_error(logits_N: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
    """(sigmoid(logit) - target)^2, mean over nodes by weight."""
    return weighted_mean((torch.sigmoid(logits_N) - targets_N) ** 2, weights_N)


def generalised_cross_entropy(logits_N: Tensor, targets_N: Tensor, weights_N: Tensor, q: float) -> Tensor:
    """y (1 - p^q) / q + (1 - y) (1 - (1 - p)^q) / q (Zhang & Sabuncu, arXiv 1805.07836, soft targets added here).

    q -> 0 is the cross-entropy, q = 1 the absolute error y (1 - p) + (1 - y) p, which no single wrong label can
    dominate: the gradient of a confidently contradicted label goes to 0 instead of 1.
    """
    log_right_N, log_wrong_N = F.logsigmoid(logits_N), F.logsigmoid(-logits_N)
    right_N, wrong_N = -torch.expm1(q * log_right_N) / q, -torch.expm1(q * log_wrong_N) / q
    return weighted_mean(targets_N * right_N + (1 - targets_N) * wrong_N, weights_N)


def categorical_cross_entropy(logits_NK: Tensor, targets_NK: Tensor, weights_N: Tensor) -> Tensor:
    """Cross-entropy between distributions over K categories; each row of the targets sums to 1."""
    return weighted_mean(-(targets_NK * F.log_softmax(logits_NK, dim=-1)).sum(-1), weights_N)


def transport_distance(logits_NK: Tensor, targets_NK: Tensor, weights_N: Tensor) -> Tensor:
    """Wasserstein-1 distance between distributions over K ordered grades at 0, 1 / (K - 1) .. 1.

    On a line the optimal transport costs the area between the distribution functions, sum |F - G| / (K - 1): a grade
    missed by two costs twice a grade missed by one, which the cross-entropy does not see.
    """
    gaps_NK = torch.softmax(logits_NK, dim=-1).cumsum(-1) - targets_NK.cumsum(-1)
    return weighted_mean(gaps_NK[:, :-1].abs().sum(-1) / (logits_NK.shape[-1] - 1), weights_N)


def huber_quantile_loss(
    values_NK: Tensor, samples_NS: Tensor, weights_N: Tensor, kappa: float, taus_NK: Tensor | None = None
) -> Tensor:
    """Quantile regression of QR-DQN (arXiv 1710.10044) at tau_i = (2i - 1) / 2K or given levels, u = sample - value:

        rho = |tau_i - 1[u < 0]| L(u) / kappa,    L(u) = u^2 / 2 where |u| <= kappa, else kappa (|u| - kappa / 2)

    summed over the K quantiles, mean over the S samples, mean over nodes by weight. kappa = 0: |tau_i - 1[u < 0]| |u|.
    """
    if taus_NK is None:
        taus_NK = even_levels(values_NK.shape[-1], values_NK.device).expand_as(values_NK)
    gaps_NKS = samples_NS[:, None, :] - values_NK[:, :, None]
    sizes_NKS = gaps_NKS.abs()
    inside_NKS = 0.5 * sizes_NKS**2 / kappa if kappa > 0 else sizes_NKS
    costs_NKS = torch.where(sizes_NKS <= kappa, inside_NKS, sizes_NKS - kappa / 2)
    tilts_NKS = (taus_NK[..., None] - (gaps_NKS < 0).to(values_NK.dtype)).abs()
    return weighted_mean((tilts_NKS * costs_NKS).mean(-1).sum(-1), weights_N)


def even_levels(num: int, device: torch.device) -> Tensor:
    """tau_i = (2i - 1) / 2K for i = 1 .. K: the middles of K equal shares."""
    return (2 * torch.arange(1, num + 1, device=device) - 1) / (2 * num)


def beta_binomial_loss(
    alphas_N: Tensor, betas_N: Tensor, right_N: Tensor, total_N: Tensor, weights_N: Tensor
) -> Tensor:
    """-log [B(alpha + r, beta + n - r) / B(alpha, beta)]: r right of n completions under a Beta(alpha, beta) rate.

    The binomial coefficient is constant and left out, so counts may be fractions. n = 0 costs 0: no evidence.
    """
    after_N = log_beta(alphas_N + right_N, betas_N + total_N - right_N)
    return weighted_mean(log_beta(alphas_N, betas_N) - after_N, weights_N)


def log_beta(alphas: Tensor, betas: Tensor) -> Tensor:
    """log B(alpha, beta)."""
    return torch.lgamma(alphas) + torch.lgamma(betas) - torch.lgamma(alphas + betas)


# what a distribution is asked to be -------------------------------------------------------------------


def hl_gauss_targets(samples_NS: Tensor, edges_E: Tensor, sigma: float) -> Tensor:
    """Mass of a normal distribution round each label in each bin (HL-Gauss, "Stop Regressing", arXiv 2403.03950):

        p_i = (Phi((b_{i+1} - y) / sigma) - Phi((b_i - y) / sigma)) / (Phi((b_m - y) / sigma) - Phi((b_0 - y) / sigma))

    mean over the S samples of a label. Bins that end at 0 and 1 cut the normal of y = 0 in half and lift its mean by
    about 0.8 sigma; edges 3 sigma outside do not.
    """
    z_NSE = (edges_E - samples_NS[..., None]) / (sigma * math.sqrt(2))
    below_NSE = 0.5 * (1 + torch.erf(z_NSE))
    mass_NSK = below_NSE.diff(dim=-1) / (below_NSE[..., -1:] - below_NSE[..., :1])
    return mass_NSK.mean(1)


def two_hot_targets(samples_NS: Tensor, num_atoms: int) -> Tensor:
    """Each label split between the two neighbours of `num_atoms` atoms at 0 .. 1 so that the mean is kept.

    With several samples this is C51's projection (arXiv 1707.06887) of their distribution onto the atoms.
    """
    places_NSK = samples_NS.clamp(0, 1)[..., None] * (num_atoms - 1) - torch.arange(num_atoms, device=samples_NS.device)
    return (1 - places_NSK.abs()).clamp_min(0).mean(1)


def smoothed(targets_N: Tensor, amount: float) -> Tensor:
    """(1 - amount) y + amount / 2: what a label says where `amount` of the labels is a coin's (label smoothing)."""
    return (1 - amount) * targets_N + amount / 2


# pairs ------------------------------------------------------------------------------------------------


def sibling_contrast(logits_N: Tensor, better_P: Tensor, worse_P: Tensor, weights_P: Tensor) -> Tensor:
    """-log sigmoid(z_better - z_worse) (Bradley-Terry), mean over pairs by weight; 0 without pairs.

    better_P, worse_P: indices into the N nodes. What is common to two siblings, their problem and how
    easy the rest of it is, cancels out of the difference. A weight that is the pair's strength makes it the
    scaled loss of HelpSteer2-Preference (arXiv 2410.01257): a pair of strength m counts as m pairs.
    """
    losses_P = F.softplus(logits_N[worse_P] - logits_N[better_P])
    return weighted_mean(losses_P, weights_P)


def plain_contrast(logits_N: Tensor, better_P: Tensor, worse_P: Tensor, strengths_P: Tensor) -> Tensor:
    """Bradley-Terry with every pair of weight 1, whatever its strength."""
    return sibling_contrast(logits_N, better_P, worse_P, torch.ones_like(strengths_P))


def margin_contrast(logits_N: Tensor, better_P: Tensor, worse_P: Tensor, strengths_P: Tensor) -> Tensor:
    """-log sigmoid(z_better - z_worse - m), m the pair's strength: it goes on pushing until the gap is well above m.

    HelpSteer2-Preference's margin loss; with m the mean vote of an ensemble it is the adaptive margin of Secrets of
    RLHF II (arXiv 2401.06080). A negative m asks for less than a draw.
    """
    losses_P = F.softplus(logits_N[worse_P] - logits_N[better_P] + strengths_P)
    return weighted_mean(losses_P, torch.ones_like(strengths_P))


PairLoss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
PAIR_LOSSES: dict[str, PairLoss] = {"scaled": sibling_contrast, "plain": plain_contrast, "margin": margin_contrast}
"""Name in the configuration -> loss of (logits_N, better_P, worse_P, strengths_P)."""


# bags: one outcome for many steps ---------------------------------------------------------------------


def bag_loss(values_N: Tensor, bags_GM: Tensor, outcomes_G: Tensor, pooling: str) -> Tensor:
    """Cross-entropy between a rollout's outcome and its pooled step values: steps learned from outcome labels alone.

    values_N: in [0, 1]; bags_GM: indices into them, -1 = no further step. With `min` only the worst step of a rollout
    has a gradient, with `product` all have, with `soft_min` mostly the worst. 0 without bags.
    """
    if bags_GM.numel() == 0:
        return values_N.sum() * 0
    present_GM = bags_GM >= 0
    values_GM = values_N[bags_GM.clamp_min(0)].clamp(1e-6, 1 - 1e-6)
    pooled_G = BAG_POOLINGS[pooling](values_GM, present_GM).clamp(1e-6, 1 - 1e-6)
    return F.binary_cross_entropy(pooled_G, outcomes_G)


def _bag_min(values_GM: Tensor, present_GM: Tensor) -> Tensor:
    return values_GM.masked_fill(~present_GM, 1.0).min(-1).values


def _bag_product(values_GM: Tensor, present_GM: Tensor) -> Tensor:
    return values_GM.masked_fill(~present_GM, 1.0).log().sum(-1).exp()


def _bag_soft_min(values_GM: Tensor, present_GM: Tensor) -> Tensor:
    """Mean of the values weighted by softmax(-value / SOFT_MIN_TEMPERATURE)."""
    shares_GM = (-values_GM / SOFT_MIN_TEMPERATURE).masked_fill(~present_GM, -math.inf).softmax(-1)
    return (shares_GM * values_GM).sum(-1)


SOFT_MIN_TEMPERATURE = 0.1
BAG_POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "min": _bag_min, "product": _bag_product, "soft_min": _bag_soft_min,
}  # fmt: skip


# anchor -----------------------------------------------------------------------------------------------


def anchor_divergence(logits_N: Tensor, initial_logits_N: Tensor) -> Tensor:
    """Mean KL(Bernoulli(initial) || Bernoulli(now)), nats per node: how far training moved the verdicts."""
    if logits_N.numel() == 0:
        return logits_N.sum()
    initial_N = torch.sigmoid(initial_logits_N)
    now_N = F.binary_cross_entropy_with_logits(logits_N, initial_N, reduction="none")
    entropy_N = F.binary_cross_entropy_with_logits(initial_logits_N, initial_N, reduction="none")
    return (now_N - entropy_N).mean()


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """0 where all weights are 0, also of no losses at all."""
    return (losses * weights).sum() / weights.sum().clamp_min(1e-8)
