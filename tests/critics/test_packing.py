import random

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from transformers import (
    AutoModelForTokenClassification,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from critics.batches import Unit, collate
from critics.errors import CheckpointError
from critics.evidence import StepLabel
from critics.model import outputs_at
from critics.packing import allow_packing, chunks_of, prefix_tree

SIZES = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_labels": 1,
         "classifier_dropout": 0.0}  # fmt: skip


def make_critic(config=None):
    torch.manual_seed(0)
    config = config or LlamaConfig(num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3, **SIZES)
    critic = AutoModelForTokenClassification.from_config(config).eval()
    allow_packing(critic)
    return critic


def make_unit(rows, read_row, read_position, targets, weights):
    labels = [StepLabel(target, weight, target) for target, weight in zip(targets, weights, strict=True)]
    return Unit(rows, read_row, read_position, targets, weights, [], [], labels, [], 0.0)


def random_unit(seed, num_nodes=40, longest_step=6):
    """Root-to-leaf rows of a random tree whose steps begin differently; every node is read once, by leaves below it."""
    draw = random.Random(seed)
    paths = [[draw.randrange(50) for _ in range(draw.randint(1, 5))]]
    nodes, parents = [paths[0]], [-1]
    for _ in range(num_nodes):
        parent = draw.randrange(len(nodes))
        step = [len(nodes), *(draw.randrange(50) for _ in range(draw.randrange(longest_step)))]
        nodes.append(nodes[parent] + step)
        parents.append(parent)
    leaves = [index for index in range(len(nodes)) if index not in parents]
    read_row, read_position, seen, weights = [], [], set(), []
    below = [sum(index in _path(leaf, parents) for leaf in leaves) for index in range(len(nodes))]
    for row, leaf in enumerate(leaves):
        for node in _path(leaf, parents):
            if node not in seen:
                seen.add(node)
                read_row.append(row)
                read_position.append(len(nodes[node]) - 1)
                weights.append(float(below[node]))
    targets = [draw.random() for _ in read_row]
    return make_unit([nodes[leaf] for leaf in leaves], read_row, read_position, targets, weights)


def on_every_row(unit):
    """The same targets, each read with weight 1 on every row that its node is on."""
    targets = {
        tuple(unit.rows[row][: position + 1]): target
        for row, position, target in zip(unit.read_row, unit.read_position, unit.targets, strict=True)
    }
    places = [
        (row, end) for row, ids in enumerate(unit.rows) for end in range(len(ids)) if tuple(ids[: end + 1]) in targets
    ]
    reads = [targets[tuple(unit.rows[row][: end + 1])] for row, end in places]
    rows, ends = (list(column) for column in zip(*places, strict=True))
    return make_unit(unit.rows, rows, ends, reads, [1.0] * len(reads))


def _path(node, parents):
    return [node, *(_path(parents[node], parents) if parents[node] >= 0 else [])][::-1]


def logits_of(critic, batch):
    return outputs_at(critic, batch.ids_BT, batch.rows_N, batch.positions_N, batch.packing)[:, 0]


def gradients(critic, loss):
    critic.zero_grad()
    loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in critic.parameters()])


def test_rows_in_lexicographic_order_are_the_depth_first_order_of_their_prefix_tree():
    # 7 - 1 - 2      given as three rows, of which the second is a prefix of the first
    #       - 3
    tree = prefix_tree([[7, 1, 2], [7, 1], [7, 1, 3]])
    assert tree.token_ids.tolist() == [7, 1, 2, 3]
    assert tree.positions.tolist() == [0, 1, 2, 2]
    assert tree.parents.tolist() == [-1, 0, 1, 1]
    assert tree.last_descendants.tolist() == [3, 3, 2, 3]
    assert [tokens.tolist() for tokens in tree.tokens_of_rows] == [[0, 1, 2], [0, 1], [0, 1, 3]]


def test_rows_that_share_nothing_are_trees_of_their_own():
    tree = prefix_tree([[2, 2], [1]])
    assert (tree.token_ids.tolist(), tree.parents.tolist()) == ([1, 2, 2], [-1, -1, 1])
    assert tree.last_descendants.tolist() == [0, 2, 2]


def test_a_chunk_has_the_keys_of_its_first_tokens_ancestors_and_its_own():
    chunks = chunks_of(prefix_tree([[7, 1, 2], [7, 1, 3]]), chunk=2)  # tokens 0 1 | 2 3
    assert chunks.keys_GK.tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]  # the first chunk's first token has no ancestor
    assert chunks.visible_GCK[0].tolist() == [[False, False, True, False], [False, False, True, True]]
    assert chunks.visible_GCK[1].tolist() == [[True, True, True, False], [True, True, False, True]]


@pytest.mark.parametrize("seed", range(5))
def test_packed_values_are_those_of_the_flattened_paths(seed):
    critic, units = make_critic(), [random_unit(10 * seed + k) for k in range(3)]
    with torch.no_grad():
        plain, packed = (logits_of(critic, collate(units, way)) for way in ("off", "chunks"))
    assert plain.std() > 0.1
    assert torch.allclose(packed, plain, atol=1e-5)


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_the_block_mask_of_flex_attention_gives_the_same_values():
    critic, units = make_critic(), [random_unit(3), random_unit(4)]
    with torch.no_grad():
        plain, flex = (logits_of(critic, collate(units, way)) for way in ("off", "flex"))
    assert torch.allclose(flex, plain, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_packed_gradients_weighted_by_leaves_are_those_of_the_flattened_paths(seed):
    """On flattened paths a node stands on as many rows as it has leaves below it."""
    critic, unit = make_critic(), random_unit(seed)
    packed, flattened = collate([unit], "chunks"), collate([on_every_row(unit)])
    assert len(flattened.targets_N) > len(packed.targets_N)
    one, other = (
        gradients(critic, (batch.weights_N * (logits_of(critic, batch) - batch.targets_N) ** 2).sum())
        for batch in (packed, flattened)
    )
    assert torch.allclose(one, other, atol=1e-5 * other.abs().max())


def test_gradient_checkpointing_does_not_change_a_packed_gradient():
    critic, batch = make_critic(), collate([random_unit(1)], "chunks")
    plain = gradients(critic, logits_of(critic, batch).square().sum())
    critic.gradient_checkpointing_enable()
    critic.train()
    assert torch.allclose(gradients(critic, logits_of(critic, batch).square().sum()), plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [Qwen2Config, Qwen3Config, MistralConfig, GemmaConfig])
def test_other_backbones_of_transformers_are_packed_as_they_are(kind):
    config = kind(num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3, sliding_window=None, **SIZES)
    critic, units = make_critic(config), [random_unit(5)]
    with torch.no_grad():
        plain, packed = (logits_of(critic, collate(units, way)) for way in ("off", "chunks"))
    assert torch.allclose(packed, plain, atol=1e-5)


def test_a_backbone_with_sliding_windows_cannot_be_packed():
    config = Qwen2Config(
        num_attention_heads=4,
        num_key_value_heads=2,
        use_sliding_window=True,
        sliding_window=8,
        max_window_layers=1,
        **SIZES,
    )
    with pytest.raises(CheckpointError, match="qwen2 has layers of sliding_attention"):
        make_critic(config)
    with pytest.raises(CheckpointError, match="mistral has a sliding window of 4"):
        make_critic(MistralConfig(num_attention_heads=4, num_key_value_heads=2, sliding_window=4, **SIZES))


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=12), st.integers(1, 9))
def test_every_token_sees_its_own_row_up_to_itself_and_nothing_else(rows, chunk):
    tree = prefix_tree(rows)
    assert len(tree.token_ids) == len({tuple(row[: end + 1]) for row in rows for end in range(len(row))})
    chunks = chunks_of(tree, chunk)
    for row, tokens in zip(rows, tree.tokens_of_rows, strict=True):
        assert tree.token_ids[tokens].tolist() == row
        assert tree.positions[tokens].tolist() == list(range(len(row)))
        for position, token in enumerate(tokens.tolist()):
            keys, visible = chunks.keys_GK[token // chunk], chunks.visible_GCK[token // chunk, token % chunk]
            assert keys[visible].tolist() == tokens[: position + 1].tolist()
