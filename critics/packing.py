"""Token rows that share prefixes, packed so that every shared token is computed once, with exact results.

Rows in lexicographic order are the depth-first order of their prefix tree. In that order the descendants of a token
are the tokens directly behind it, so one number per token, the index of its last descendant, is the whole mask:

    query i sees key j   <=>   j <= i <= last_descendant[j]          (j is i or an ancestor of i)

Positions are depths. A backbone of transformers runs unchanged over the U distinct tokens as one row; only its
attention is replaced, through transformers' own registry:

    chunks   Queries in chunks of C tokens in depth-first order. Every ancestor of a query stands either in the query's
             own chunk or among the ancestors of the chunk's first token: an ancestor from before the chunk has its
             descendants in one piece, up to the query, so the first token is among them. A chunk thus needs the keys of
             one path and its own, and all chunks are one batch of dense scaled dot products. No key is repeated per
             leaf; the work per token is depth + C.
    flex     torch FlexAttention with a block mask of the rule above. torch 2.13 has no backward of it on the CPU, so
             that it trains on GPUs only; its values are tested, on the CPU, and no GPU was at hand for the rest.

Degenerate case: a single row is plain causal attention. Values and gradients equal those of the rows evaluated one by
one (float32, 1e-5), where a token that several rows share is one token. What else was tried is in the record of
`python -m tests.benchmarks packing`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from critics.errors import CheckpointError

ATTENTION = "prefix_tree"  # its name in transformers' registry
CHUNK = 64  # queries that share one path of keys


@dataclass(frozen=True)
class PrefixTree:
    """Rows without their repeated prefixes: U distinct tokens in depth-first order."""

    token_ids: np.ndarray  # int64 of shape (U,), as all
    positions: np.ndarray  # depth of each token, from 0
    parents: np.ndarray  # index of the token before it; -1 where rows begin
    last_descendants: np.ndarray  # index of the last token below it; its own where there is none
    tokens_of_rows: tuple[np.ndarray, ...]  # per row, in the given order: index of each of its tokens


@dataclass(frozen=True)
class Chunks:
    """What every query sees: G chunks of C queries, each with K keys."""

    keys_GK: Tensor  # indices of tokens; where a path is shorter than the longest, 0 and not visible
    visible_GCK: Tensor  # bool

    def to(self, device: str) -> "Chunks":
        """The same on another device."""
        return Chunks(self.keys_GK.to(device), self.visible_GCK.to(device))


@dataclass(frozen=True)
class Descendants:
    """What every query sees, as FlexAttention's block mask: blocks in which no query sees a key are skipped."""

    last_descendants_U: Tensor

    def to(self, device: str) -> "Descendants":
        """The same on another device."""
        return Descendants(self.last_descendants_U.to(device))

    @cached_property
    def block_mask(self) -> BlockMask:
        """Made once per batch, where the tensor is."""
        last_U = self.last_descendants_U

        def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (key <= query) & (query <= last_U[key])

        return create_block_mask(sees, None, None, len(last_U), len(last_U), device=last_U.device)


Visibility = Chunks | Descendants


@dataclass(frozen=True)
class Packing:
    """Beside the ids of U packed tokens (one row), what a backbone needs to take them for the rows that they were."""

    positions_1U: Tensor
    visibility: Visibility

    def to(self, device: str) -> "Packing":
        """The same on another device."""
        return Packing(self.positions_1U.to(device), self.visibility.to(device))


def prefix_tree(rows: Sequence[Sequence[int]]) -> PrefixTree:
    """The distinct tokens of non-empty rows; some may be equal, or prefixes of others."""
    arrays = [np.asarray(row, dtype=np.int64) for row in rows]
    num_path_tokens = sum(map(len, arrays))
    token_ids, positions, parents, last = np.empty((4, num_path_tokens), dtype=np.int64)
    tokens_of_rows = [np.empty(0, np.int64)] * len(rows)
    before, path, size = np.empty(0, np.int64), np.empty(0, np.int64), 0
    for index in sorted(range(len(rows)), key=rows.__getitem__):
        row = arrays[index]
        shared = _num_shared(before, row)
        last[path[shared:]] = size - 1
        new = np.arange(size, size + len(row) - shared)
        path = np.concatenate([path[:shared], new])
        token_ids[new], positions[new] = row[shared:], np.arange(shared, len(row))
        parents[new] = np.concatenate([[-1], path])[shared : len(row)]
        tokens_of_rows[index], before, size = path, row, size + len(new)
    last[path] = size - 1
    return PrefixTree(token_ids[:size], positions[:size], parents[:size], last[:size], tuple(tokens_of_rows))


def chunks_of(tree: PrefixTree, chunk: int = CHUNK) -> Chunks:
    """The keys of every chunk of queries, and which of them each query sees."""
    size = len(tree.token_ids)
    num_chunks = -(-size // chunk)
    paths = [_ancestors(tree, start) for start in range(0, size, chunk)]
    longest = max(map(len, paths))
    paths_GL = np.array([[*path, *[-1] * (longest - len(path))] for path in paths], np.int64).reshape(num_chunks, -1)
    own_GC = np.arange(num_chunks * chunk).reshape(num_chunks, chunk)
    keys_GK = np.concatenate([paths_GL, own_GC], axis=1)
    last = np.concatenate([tree.last_descendants, np.arange(size, num_chunks * chunk), [-1]])  # -1 is seen by nobody
    queries_GC1, keys_G1K = own_GC[:, :, None], keys_GK[:, None, :]
    visible_GCK = (keys_G1K <= queries_GC1) & (queries_GC1 <= last[keys_G1K])
    return Chunks(torch.from_numpy(np.maximum(keys_GK, 0)), torch.from_numpy(visible_GCK))


def descendants_of(tree: PrefixTree) -> Descendants:
    """The same rule for FlexAttention."""
    return Descendants(torch.from_numpy(tree.last_descendants))


WAYS: Mapping[str, Callable[[PrefixTree], Visibility]] = {"chunks": chunks_of, "flex": descendants_of}


def allow_packing(critic: PreTrainedModel) -> None:
    """Replace a critic's attention by one that also takes packed rows; plain rows are evaluated as before.

    Raises CheckpointError where `hindrances` finds any.
    """
    found = hindrances(critic)
    if found:
        raise CheckpointError(
            f"The backbone {critic.config.model_type} has {' and '.join(found)}: its rows cannot be packed. Set "
            'process_critic.packing = "off".'
        )
    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    critic.set_attn_implementation(ATTENTION)


def hindrances(critic: PreTrainedModel) -> list[str]:
    """What keeps a backbone's rows from being packed: a token may see less than its ancestors, or what cannot be
    replaced decides what it sees. Empty where nothing does.
    """
    config = critic.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or []) - {"full_attention"}
    window = getattr(config, "sliding_window", None)
    found = [f"layers of {kind}" for kind in sorted(kinds)]
    found += [f"a sliding window of {window} tokens"] if window and not kinds else []
    found += [] if critic._supports_attention_backend else ["an attention that cannot be replaced"]
    return found


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    visibility: Visibility | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: object,
) -> tuple[Tensor, None]:
    """transformers' interface: query, key, value (1, heads, U, size) to (1, U, heads, size)."""
    if visibility is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
    if isinstance(visibility, Chunks):
        return chunked_attention(query, key, value, visibility, scaling, dropout), None
    return block_masked_attention(query, key, value, visibility.block_mask, scaling), None


def chunked_attention(
    query: Tensor, key: Tensor, value: Tensor, chunks: Chunks, scaling: float | None, dropout: float = 0.0
) -> Tensor:
    """Dense scaled dot products per chunk: (1, heads, U, size) each to (1, U, heads, size)."""
    num_chunks, num_queries = chunks.visible_GCK.shape[:2]
    padding = num_chunks * num_queries - query.shape[2]
    queries_GHCD = _by_token(query, padding).unflatten(0, (num_chunks, num_queries)).transpose(1, 2)
    keys_GHKD, values_GHKD = (_gathered(_by_token(states, padding), chunks.keys_GK) for states in (key, value))
    outputs_GHCD = scaled_dot_product_attention(
        queries_GHCD, keys_GHKD, values_GHKD, attn_mask=chunks.visible_GCK[:, None], dropout_p=dropout, scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip
    return outputs_GHCD.transpose(1, 2).flatten(0, 1)[None, : query.shape[2]]


def block_masked_attention(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scaling: float | None) -> Tensor:
    """The same by FlexAttention, compiled where there is a GPU; without dropout."""
    attend = _compiled_flex_attention() if query.is_cuda else flex_attention
    enable_gqa = query.shape[1] != key.shape[1]
    return attend(query, key, value, block_mask=mask, scale=scaling, enable_gqa=enable_gqa).transpose(1, 2)


@cache
def _compiled_flex_attention() -> Callable[..., Tensor]:
    return torch.compile(flex_attention, dynamic=True)


def _by_token(states: Tensor, padding: int) -> Tensor:
    return pad(states[0].transpose(0, 1), (0, 0, 0, 0, 0, padding))


def _gathered(states_UHD: Tensor, keys_GK: Tensor) -> Tensor:
    rows = nn.functional.embedding(keys_GK, states_UHD.flatten(1))
    return rows.unflatten(2, states_UHD.shape[1:]).transpose(1, 2)


def _ancestors(tree: PrefixTree, token: int) -> list[int]:
    path, above = [], int(tree.parents[token])
    while above >= 0:
        path.append(above)
        above = int(tree.parents[above])
    return path[::-1]


def _num_shared(one: np.ndarray, other: np.ndarray) -> int:
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length
