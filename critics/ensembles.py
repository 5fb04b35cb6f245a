"""Several opinions on one value: heads of one network, or critics of several seeds, also of mixed kinds.

`EnsembleHead` is a head made of heads: they share the backbone, start from slightly different weights, and each of M
members leaves one M-th of the problems out of its loss. The functions below it pool scores that whole critics made.

    mean        mean of the members' means
    min         the lowest of the members' means: over-scoring by one member cannot raise it
    truncated   TQC (arXiv 2005.04269): pool the members' atoms, drop the highest share, take the mean of the rest
    quantiles   mean of the members' quantile functions by `member_weights` (Vincent averaging): the belief is as wide
                as a member's, where the members' atoms together (the other poolings) are as wide as their disagreement

Disagreement is the variance of the members' means, in [0, 1/4]: epistemic, it shrinks where data make members agree.
The spread of one member's own belief is something else (two members that both say Beta(50, 50) have spread and no
disagreement), and is never taken for it.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from critics.heads import Head, Labels, cvar_of_atoms, quantile_of_atoms
from critics.losses import even_levels

NUM_LEVELS = 25  # at which quantile functions are averaged
INITIAL_NOISE = 0.1  # of the initial weights' size; the first member starts without


@dataclass(frozen=True)
class EnsembleHead:
    """Members side by side: the outputs of the first, then those of the second, and so on."""

    members: tuple[Head, ...]
    pooling: str = "mean"  # of POOLINGS
    dropped: float = 0.08  # truncated: highest share of the pooled belief; TQC drops 2 of 25 atoms per network
    member_weights: tuple[float, ...] = ()  # quantiles: one per member, at least 0 and not all 0; empty: all alike

    name: ClassVar[str] = "ensemble"

    @property
    def num_outputs(self) -> int:
        return sum(member.num_outputs for member in self.members)

    def outputs_of_members(self, outputs_NK: Tensor) -> list[Tensor]:
        return list(outputs_NK.split([member.num_outputs for member in self.members], dim=-1))

    def means(self, outputs_NK: Tensor) -> Tensor:
        """(M, N): every member's mean."""
        parts = self.outputs_of_members(outputs_NK)
        return torch.stack([member.mean(part) for member, part in zip(self.members, parts, strict=True)])

    def loss(self, outputs_NK: Tensor, labels: Labels) -> Tensor:
        """Mean of the members' losses, each without its block of problems; a single member sees everything."""
        losses = []
        parts = self.outputs_of_members(outputs_NK)
        for index, (member, part) in enumerate(zip(self.members, parts, strict=True)):
            losses.append(member.loss(part, _without_block(labels, index, len(self.members))))
        return torch.stack(losses).mean()

    def mean(self, outputs_NK: Tensor) -> Tensor:
        return POOLINGS[self.pooling](self, outputs_NK)

    def logit(self, outputs_NK: Tensor) -> Tensor:
        """Mean of the members' logits, so that every member learns from a pair; rises with each member's mean."""
        parts = self.outputs_of_members(outputs_NK)
        return torch.stack([m.logit(part) for m, part in zip(self.members, parts, strict=True)]).mean(0)

    def atoms(self, outputs_NK: Tensor) -> tuple[Tensor, Tensor]:
        """The belief of all members."""
        parts = self.outputs_of_members(outputs_NK)
        pairs = [member.atoms(part) for member, part in zip(self.members, parts, strict=True)]
        return BELIEFS.get(self.pooling, _together)(pairs, self.member_weights or (1.0,) * len(self.members))

    def disagreement(self, outputs_NK: Tensor) -> Tensor:
        """(N,): variance of the members' means."""
        return self.means(outputs_NK).var(0, correction=0)

    def initial(self, direction_H: Tensor) -> tuple[Tensor, Tensor]:
        weights, biases = zip(*(member.initial(direction_H) for member in self.members), strict=True)
        size = INITIAL_NOISE * direction_H.square().mean().sqrt()
        noisy = [
            weight_KH + size * torch.randn(weight_KH.shape, generator=torch.Generator().manual_seed(index))
            for index, weight_KH in enumerate(weights[1:], start=1)
        ]
        return torch.cat([weights[0], *noisy]), torch.cat(biases)


POOLINGS: dict[str, Callable[[EnsembleHead, Tensor], Tensor]] = {
    "mean": lambda head, outputs_NK: head.means(outputs_NK).mean(0),
    "min": lambda head, outputs_NK: head.means(outputs_NK).min(0).values,
    "truncated": lambda head, outputs_NK: cvar_of_atoms(*head.atoms(outputs_NK), 1 - head.dropped),
    "quantiles": lambda head, outputs_NK: head.atoms(outputs_NK)[0].mean(-1),
}
"""Name in the configuration -> one score per node. Truncated: the mean of the lowest 1 - dropped of the pool."""


Atoms = tuple[Tensor, Tensor]  # values, probabilities


def _together(pairs: Sequence[Atoms], weights: Sequence[float]) -> Atoms:
    """The members' atoms side by side, each member with the same total probability."""
    values, probabilities = zip(*pairs, strict=True)
    return torch.cat(values, -1), torch.cat(probabilities, -1) / len(pairs)


def _averaged(pairs: Sequence[Atoms], weights: Sequence[float]) -> Atoms:
    """`weighted_quantiles` of the members at even levels, as atoms of equal probability."""
    levels = even_levels(NUM_LEVELS, pairs[0][0].device).tolist()
    total = sum(weights)
    quantiles_NL = torch.stack(
        [
            sum(weight / total * quantile_of_atoms(*atoms, tau) for weight, atoms in zip(weights, pairs, strict=True))
            for tau in levels
        ],
        dim=-1,
    )
    return quantiles_NL, torch.full_like(quantiles_NL, 1 / NUM_LEVELS)


BELIEFS: dict[str, Callable[[Sequence[Atoms], Sequence[float]], Atoms]] = {"quantiles": _averaged}
"""Pooling -> the belief of all members; those that are not here take the atoms of all."""


@dataclass(frozen=True)
class PairVote:
    """What several critics say of one pair: Secrets of RLHF II (arXiv 2401.06080)."""

    mean: float  # of r(chosen) - r(rejected) over the critics; below 0 the label is probably wrong
    std: float  # over the critics (population)


def vote_on_pairs(chosen_MP: Sequence[Sequence[float]], rejected_MP: Sequence[Sequence[float]]) -> list[PairVote]:
    """One vote per pair from M critics' scores of P pairs; ValueError for fewer than two critics."""
    if len(chosen_MP) < 2:
        raise ValueError(f"{len(chosen_MP)} critic cannot vote on the strength of a pair; give at least two")
    gaps_MP = np.asarray(chosen_MP, dtype=float) - np.asarray(rejected_MP, dtype=float)
    return [PairVote(float(mean), float(std)) for mean, std in zip(gaps_MP.mean(0), gaps_MP.std(0), strict=True)]


def weighted_quantiles(quantiles_MK: Sequence[Sequence[float]], weights_M: Sequence[float]) -> list[float]:
    """Weighted mean of quantile functions at the same K levels; keeps them rising. Weights need not sum to 1."""
    weights = np.asarray(weights_M, dtype=float)
    if weights.sum() <= 0 or (weights < 0).any():
        raise ValueError(
            f"weights {list(weights_M)} cannot average {len(quantiles_MK)} members: they must be >= 0, not all 0"
        )
    return [float(value) for value in weights @ np.asarray(quantiles_MK, dtype=float) / weights.sum()]


def truncated_mean(atoms_MA: Sequence[Sequence[float]], dropped_per_member: int) -> float:
    """TQC on equally likely atoms: pool M x A of them, drop the highest M x dropped_per_member, mean of the rest."""
    pooled = sorted(itertools.chain.from_iterable(atoms_MA))
    num_kept = len(pooled) - dropped_per_member * len(atoms_MA)
    if num_kept < 1:
        raise ValueError(
            f"dropping {dropped_per_member} atoms of each of {len(atoms_MA)} members leaves none of {len(pooled)}"
        )
    return sum(pooled[:num_kept]) / num_kept


def disagreement(scores_M: Sequence[float]) -> float | None:
    """Variance of the members' scores of one step, in [0, 1/4]; None for one member, who disagrees with nobody."""
    return float(np.var(scores_M)) if len(scores_M) > 1 else None


def _without_block(labels: Labels, member: int, num_members: int) -> Labels:
    if num_members == 1:
        return labels
    is_left_out_N = (labels.blocks_N * num_members).floor() == member
    return Labels(**{**vars(labels), "weights_N": labels.weights_N.masked_fill(is_left_out_N, 0.0)})
