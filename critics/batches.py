"""Labelled trees as batches of token rows: seeded order, whole trees together, similar lengths together.

Pairs of siblings need both nodes in one batch, so a tree is the unit of batching; a tree with more than
`batch_size` rows is cut in depth-first order and loses the pairs across the cut, never a node.
The order of batches depends on the seed alone, so a resumed run sees the batches that it had not seen.
"""

import logging
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from critics.errors import CriticDataError, VocabularyError
from critics.evidence import StepLabel
from critics.examples import Row, StepExamples, TreeExample, without_nodes
from critics.fold import unit_hash
from critics.heads import Labels
from critics.model import STEP_SEPARATOR, StepEncoder, pad_rows
from critics.packing import WAYS, Packing, prefix_tree

logger = logging.getLogger(__name__)

BUCKET_BATCHES = 32  # batches whose trees are sorted by length together


@dataclass
class Unit:
    """Rows of one tree that are always evaluated together."""

    rows: list[list[int]]  # token ids
    read_row: list[int]  # per node: its row
    read_position: list[int]  # per node: index of the last token of its step
    targets: list[float]
    weights: list[float]
    pairs: list[tuple[int, int, float]]  # better, worse (indices of nodes here), weight
    initial: list[float]  # the initial critic's logits; empty until they are filled in
    labels: list[StepLabel]  # per node: what `targets` and `weights` are taken from
    bags: list[tuple[tuple[int, ...], float]]  # indices of nodes here, outcome
    block: float  # of the problem, in [0, 1): which members of an ensemble do not see it
    tree_id: str = ""  # for messages

    @property
    def num_tokens(self) -> int:
        return max(len(row) for row in self.rows)


@dataclass(frozen=True)
class Batch:
    """B rows of at most T tokens, N labelled nodes, P pairs, G bags of at most M nodes; packed, one row of all distinct
    tokens. Where only some rows are laid out, `rows_N` and `positions_N` are those of the nodes on them, which follow
    one another from `start` on; all else is of the whole batch."""

    ids_BT: Tensor
    rows_N: Tensor
    positions_N: Tensor
    start: int  # index of the first node that is laid out
    targets_N: Tensor
    weights_N: Tensor
    initial_N: Tensor
    better_P: Tensor
    worse_P: Tensor
    pair_weights_P: Tensor
    right_N: Tensor
    total_N: Tensor
    samples_NS: Tensor
    grades_NG: Tensor
    attributes_NA: Tensor  # NaN = not known
    blocks_N: Tensor
    bags_GM: Tensor  # -1 = no further node
    bag_outcomes_G: Tensor
    packing: Packing | None  # None: rows are padded on the right

    def labels(self) -> Labels:
        """What a head learns from."""
        return Labels(
            self.targets_N, self.weights_N, self.right_N, self.total_N, self.samples_NS, self.grades_NG,
            self.attributes_NA, self.blocks_N,
        )  # fmt: skip

    def to(self, device: str) -> "Batch":
        moved = {name: part.to(device) for name, part in vars(self).items() if hasattr(part, "to")}
        return replace(self, **moved)


def encode_examples(
    examples: StepExamples, encoder: StepEncoder, batch_size: int, *, every_token: bool = False
) -> list[Unit]:
    """All trees as units of at most `batch_size` rows; steps beyond the context are left out.

    every_token: each token of a labelled step is read and has the step's label, its last one stands for it in pairs.
    """
    encoder.remember(tree.prompt for tree in examples.trees)
    encoder.remember(step + STEP_SEPARATOR for tree in examples.trees for step in tree.steps[1:])
    units = []
    for tree in examples.trees:
        for start in range(0, len(tree.rows), batch_size):
            unit = _unit(tree, tree.rows[start : start + batch_size], encoder, every_token)
            if unit.targets:
                units.append(unit)
    return units


def readable(examples: StepExamples, encoder: StepEncoder, folder: Path, max_cut_share: float) -> StepExamples:
    """The examples without steps that have a character which a model folder's tokenizer has no token for.

    A policy now and then writes the end of a token as a step of its own. With such a step go those below it, and trees
    whose prompt cannot be read. VocabularyError where that is more than `max_cut_share` of the labelled steps, or all.
    """
    unknown = {(tree.tree_id, node) for tree in examples.trees for node in _unknown_nodes(tree, encoder)}
    if not unknown:
        return examples
    lost: dict[str, list[int]] = {}
    for tree_id, node in unknown:
        lost.setdefault(tree_id, []).append(node)
    trees = (without_nodes(tree, lost[tree.tree_id]) if tree.tree_id in lost else tree
             for tree in examples.trees if 0 not in lost.get(tree.tree_id, ()))  # fmt: skip
    left = StepExamples(tuple(tree for tree in trees if tree.rows))
    tree_id, node = min(unknown)
    tree = next(tree for tree in examples.trees if tree.tree_id == tree_id)
    text = (tree.prompt, *tree.steps[1:])[node]
    characters = "".join(sorted({character for character in text if not encoder.knows(character)}))
    what = f"step of node {node}" if node else "prompt"
    num_lost, num = _num_read(examples) - _num_read(left), _num_read(examples)
    if not left.trees or num_lost > max_cut_share * num:
        raise VocabularyError(
            f"The tokenizer of {folder} has no token for {characters or text!r} in the {what} of tree {tree_id}: "
            f"{text[:80]!r}; so {num_lost} of {num} labelled steps cannot be read. Start from a model with the "
            "vocabulary of the policy that made the trees (process_critic.init)."
        )
    logger.warning(
        "%d of %d labelled steps are left out: the tokenizer has no token for a part of them, first %r in the %s of "
        "tree %s.", num_lost, num, text[:80], what, tree_id,
    )  # fmt: skip
    return left


def _unknown_nodes(tree: TreeExample, encoder: StepEncoder) -> list[int]:
    """Nodes on the rows whose steps cannot be read; 0 for the prompt."""
    nodes = sorted({node for row in tree.rows for node in row.path})
    texts = [(0, tree.prompt), *((node, tree.steps[node]) for node in nodes)]
    return [node for node, text in texts if not encoder.knows(text)]


def _num_read(examples: StepExamples) -> int:
    return sum(len(row.read) for tree in examples.trees for row in tree.rows)


def check_lengths(examples: StepExamples, encoder: StepEncoder, max_cut_share: float) -> None:
    """CriticDataError where more than this share of the labelled steps ends beyond the encoder's context."""
    cut: list[tuple[str, int]] = []  # tree, node of each labelled step that was cut off
    for tree in examples.trees:
        for row in tree.rows:
            _, ends = encoder.encode(tree.prompt, [tree.steps[node] for node in row.path])
            cut += [(tree.tree_id, row.path[i]) for i in row.read if i >= len(ends)]
    num_read = _num_read(examples)
    if cut and (len(cut) > max_cut_share * num_read or len(cut) == num_read):
        tree_id, node = cut[0]
        raise CriticDataError(
            f"{len(cut)} of {num_read} labelled steps end beyond the critic's context of "
            f"{encoder.max_length} tokens (the first: node {node} of tree {tree_id}); at most {max_cut_share:.0%} may "
            "be left out (process_critic.max_cut_share). Take a model with a longer context, or shorter steps."
        )


def epoch_batches(units: Sequence[Unit], batch_size: int, seed: int, epoch: int) -> Iterator[list[Unit]]:
    """Every unit once, in groups of at most `batch_size` rows."""
    order = random.Random(f"{seed}/{epoch}")
    shuffled = order.sample(list(units), len(units))
    batches: list[list[Unit]] = []
    bucket: list[Unit] = []
    for unit in [*shuffled, None]:
        if unit is None or sum(len(u.rows) for u in bucket) >= BUCKET_BATCHES * batch_size:
            batches.extend(_fill(sorted(bucket, key=lambda u: u.num_tokens), batch_size))
            bucket = []
        if unit is not None:
            bucket.append(unit)
    yield from order.sample(batches, len(batches))


def ordered_batches(units: Sequence[Unit], batch_size: int) -> list[list[Unit]]:
    """Every unit once, by length: for evaluation."""
    return _fill(sorted(units, key=lambda u: u.num_tokens), batch_size)


def collate(units: Sequence[Unit], packing: str = "off", only: range | None = None) -> Batch:
    """Units as one batch of tensors; indices of rows and nodes are shifted behind one another.

    packing: off, or one of `packing.WAYS`: prefixes that rows share, in whatever unit, are there once.
    only: the rows that are laid out; None: all.
    """
    rows, read_row, read_position, targets, weights, initial, pairs = [], [], [], [], [], [], []
    labels, bags, blocks = [], [], []
    for unit in units:
        bags.extend(([len(targets) + node for node in nodes], outcome) for nodes, outcome in unit.bags)
        labels.extend(unit.labels)
        blocks.extend([unit.block] * len(unit.targets))
        pairs.extend((len(targets) + better, len(targets) + worse, weight) for better, worse, weight in unit.pairs)
        read_row.extend(len(rows) + row for row in unit.read_row)
        rows.extend(unit.rows)
        read_position.extend(unit.read_position)
        targets.extend(unit.targets)
        weights.extend(unit.weights)
        initial.extend(unit.initial)
    start = 0
    if only is not None:
        rows, read_row, read_position, start = _part(rows, read_row, read_position, only)
    ids_BT, packed, read_row, read_position = _laid_out(rows, read_row, read_position, packing)
    return Batch(
        ids_BT=ids_BT,
        start=start,
        rows_N=torch.tensor(read_row, dtype=torch.long),
        positions_N=torch.tensor(read_position, dtype=torch.long),
        targets_N=torch.tensor(targets),
        weights_N=torch.tensor(weights),
        initial_N=torch.tensor(initial),
        better_P=torch.tensor([pair[0] for pair in pairs], dtype=torch.long),
        worse_P=torch.tensor([pair[1] for pair in pairs], dtype=torch.long),
        pair_weights_P=torch.tensor([pair[2] for pair in pairs], dtype=torch.float32),
        right_N=torch.tensor([label.num_right for label in labels], dtype=torch.float32),
        total_N=torch.tensor([label.num_total for label in labels], dtype=torch.float32),
        samples_NS=_matrix([label.samples or (label.target,) for label in labels]),
        grades_NG=_matrix([label.grades for label in labels]),
        attributes_NA=_matrix([label.attributes for label in labels], fill=math.nan),
        blocks_N=torch.tensor(blocks, dtype=torch.float32),
        bags_GM=_matrix([nodes for nodes, _ in bags], fill=-1).long(),
        bag_outcomes_G=torch.tensor([outcome for _, outcome in bags], dtype=torch.float32),
        packing=packed,
    )


def _part(
    rows: Sequence[Sequence[int]], read_row: Sequence[int], read_position: Sequence[int], only: range
) -> tuple[Sequence[Sequence[int]], list[int], list[int], int]:
    """Some rows, the places of the nodes on them and the index of the first such node; a batch's nodes are in the order
    of their rows. Without rows, the first one and no node: each process of a team evaluates something."""
    nodes = [node for node, row in enumerate(read_row) if row in only]
    start = nodes[0] if nodes else 0
    if not only:
        return rows[:1], [], [], start
    part = [rows[row] for row in only]
    return part, [read_row[node] - only.start for node in nodes], [read_position[node] for node in nodes], start


def _matrix(rows: Sequence[Sequence[float]], fill: float | None = None) -> Tensor:
    """Rows as one matrix. `fill` pads shorter ones; without it a shorter row, that of a masked node, repeats its last
    value, or is evenly spread where it has none."""
    width = max((len(row) for row in rows), default=0)
    if fill is None:
        padded = [[*row, *(row[-1:] or (1 / max(width, 1),)) * (width - len(row))] for row in rows]
    else:
        padded = [[*row, *[fill] * (width - len(row))] for row in rows]
    return torch.tensor(padded, dtype=torch.float32).reshape(len(rows), width)


def _laid_out(
    rows: Sequence[Sequence[int]], read_row: Sequence[int], read_position: Sequence[int], packing: str
) -> tuple[Tensor, Packing | None, Sequence[int], Sequence[int]]:
    """(token ids, packing, rows and positions of the nodes there)."""
    if packing == "off":
        return pad_rows(rows), None, read_row, read_position
    tree = prefix_tree(rows)
    places = [tree.tokens_of_rows[row][position] for row, position in zip(read_row, read_position, strict=True)]
    packed = Packing(torch.from_numpy(tree.positions)[None], WAYS[packing](tree))
    return torch.from_numpy(tree.token_ids)[None], packed, [0] * len(places), places


def in_parts(units: Sequence[Unit], num_parts: int) -> list[list[Unit]]:
    """A batch cut into `num_parts` (a power of two) of about equally many rows; a single row is not cut.

    Where a tree is cut, the pairs and bags across the cut are lost, never a node.
    """
    parts = [list(units)]
    while len(parts) < num_parts and any(_num_rows(part) > 1 for part in parts):
        parts = [half for part in parts for half in _halves(part)]
    return parts


def _halves(units: list[Unit]) -> list[list[Unit]]:
    if _num_rows(units) == 1:
        return [units]
    if len(units) == 1:
        middle = len(units[0].rows) // 2
        return [[_rows_of(units[0], 0, middle)], [_rows_of(units[0], middle, len(units[0].rows))]]
    middle = min(range(1, len(units)), key=lambda i: abs(_num_rows(units[:i]) - _num_rows(units[i:])))
    return [units[:middle], units[middle:]]


def _rows_of(unit: Unit, start: int, end: int) -> Unit:
    nodes = [node for node, row in enumerate(unit.read_row) if start <= row < end]
    place = {node: index for index, node in enumerate(nodes)}
    return Unit(
        rows=unit.rows[start:end],
        read_row=[unit.read_row[node] - start for node in nodes],
        read_position=[unit.read_position[node] for node in nodes],
        targets=[unit.targets[node] for node in nodes],
        weights=[unit.weights[node] for node in nodes],
        pairs=[(place[b], place[w], weight) for b, w, weight in unit.pairs if b in place and w in place],
        initial=[unit.initial[node] for node in nodes] if unit.initial else [],
        labels=[unit.labels[node] for node in nodes],
        bags=[(tuple(place[n] for n in bag), o) for bag, o in unit.bags if place.keys() >= set(bag)],
        block=unit.block,
        tree_id=unit.tree_id,
    )


def _num_rows(units: Sequence[Unit]) -> int:
    return sum(len(unit.rows) for unit in units)


def _unit(tree: TreeExample, rows: Sequence[Row], encoder: StepEncoder, every_token: bool) -> Unit:
    unit = Unit([], [], [], [], [], [], [], [], [], unit_hash(tree.problem_id, "block"), tree.tree_id)
    place: dict[int, int] = {}  # node of the tree -> node of the unit
    for row in rows:
        ids, ends = encoder.encode(tree.prompt, [tree.steps[node] for node in row.path])
        read = [i for i in row.read if i < len(ends)]
        for i in read:
            label = tree.labels[row.path[i]]
            num_tokens = encoder.num_tokens(tree.steps[row.path[i]]) if every_token else 1
            for position in range(ends[i] - num_tokens + 1, ends[i] + 1):
                unit.read_row.append(len(unit.rows))
                unit.read_position.append(position)
                unit.targets.append(label.target)
                unit.weights.append(label.weight)
                unit.labels.append(label)
            place[row.path[i]] = len(unit.targets) - 1
        if read:
            unit.rows.append(ids[: ends[read[-1]] + 1])
    unit.pairs.extend(
        (place[p.better], place[p.worse], p.weight) for p in tree.pairs if p.better in place and p.worse in place
    )
    unit.bags.extend(
        (tuple(place[node] for node in bag.nodes), bag.outcome)
        for bag in tree.bags
        if all(node in place for node in bag.nodes)
    )
    return unit


def _fill(units: Sequence[Unit], batch_size: int) -> list[list[Unit]]:
    batches: list[list[Unit]] = []
    num_rows = batch_size
    for unit in units:
        if num_rows + len(unit.rows) > batch_size:
            batches.append([])
            num_rows = 0
        batches[-1].append(unit)
        num_rows += len(unit.rows)
    return batches
