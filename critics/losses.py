"""Losses of the process critic: tensors in, one scalar tensor out, nothing else.

Shapes: N labelled nodes of a batch, P sibling pairs among them. Logits are unbounded, targets in [0, 1].
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def weighted_bce(logits_N: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
    """Binary cross-entropy with soft targets, mean over nodes by weight; 0 where all weights are 0."""
    losses_N = F.binary_cross_entropy_with_logits(logits_N, targets_N, reduction="none")
    return _weighted_mean(losses_N, weights_N)


def sibling_contrast(logits_N: Tensor, better_P: Tensor, worse_P: Tensor, weights_P: Tensor) -> Tensor:
    """-log sigmoid(z_better - z_worse) (Bradley-Terry), mean over pairs by weight; 0 without pairs.

    better_P, worse_P: indices into the N nodes. What is common to two siblings, their problem and how
    easy the rest of it is, cancels out of the difference.
    """
    losses_P = F.softplus(logits_N[worse_P] - logits_N[better_P])
    return _weighted_mean(losses_P, weights_P)


def anchor_divergence(logits_N: Tensor, initial_logits_N: Tensor) -> Tensor:
    """Mean KL(Bernoulli(initial) || Bernoulli(now)), nats per node: how far training moved the verdicts."""
    if logits_N.numel() == 0:
        return logits_N.sum()
    initial_N = torch.sigmoid(initial_logits_N)
    now_N = F.binary_cross_entropy_with_logits(logits_N, initial_N, reduction="none")
    entropy_N = F.binary_cross_entropy_with_logits(initial_logits_N, initial_N, reduction="none")
    return (now_N - entropy_N).mean()


def _weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    return (losses * weights).sum() / weights.sum().clamp_min(1e-8)
