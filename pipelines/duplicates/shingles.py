"""Texts as sets of shingles, hashed to 64 bits, all at once.

A shingle is a run of k words, or of k characters; a text with fewer is one shingle as a whole. Since words of a
normalised text are one space apart, every shingle is a stretch [a, b) of bytes, and its hash comes from prefix sums of
the whole buffer (Karp and Rabin's, modulo 2^64, with an odd base r):

    P[i] = sum_{j < i} byte_j * r^j,      h(a, b) = mix((P[b] - P[a]) * r^-a)

`mix` is the finaliser of SplitMix64. Two different shingles share a hash with a chance of about 2^-64.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd
INVERSE = np.uint64(pow(int(BASE), -1, 2**64))
CHUNK_BYTES = 1 << 20
SPACE = 0x20


@dataclass(frozen=True)
class Bytes:
    """Texts without null as one buffer: text i is `data[offsets[i]:offsets[i + 1]]`."""

    data: np.ndarray  # uint8
    offsets: np.ndarray  # int64, one more than texts

    @classmethod
    def of(cls, texts: pa.LargeStringArray) -> "Bytes":
        """The texts; none may be null."""
        offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
        data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
        return cls(data[offsets[0] : offsets[-1]], offsets - offsets[0])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, texts_T: np.ndarray) -> "Bytes":
        """The given texts, in their order."""
        lengths_T = self.offsets[texts_T + 1] - self.offsets[texts_T]
        offsets = np.concatenate([[0], np.cumsum(lengths_T)])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[texts_T] - offsets[:-1], lengths_T)
        return Bytes(self.data[places], offsets)


@dataclass(frozen=True)
class Shingles:
    """Shingle hashes of several texts: those of text i are `hashes[starts[i]:starts[i + 1]]`, at least one each."""

    hashes: np.ndarray  # uint64
    starts: np.ndarray  # int64, one more than texts


def chunks(texts: Bytes) -> Iterator[tuple[int, int]]:
    """Ranges of texts of about CHUNK_BYTES, so that the work stays in the processor's cache."""
    first = 0
    while first < len(texts):
        last = int(np.searchsorted(texts.offsets, texts.offsets[first] + CHUNK_BYTES, "right")) - 1
        last = min(max(last, first + 1), len(texts))
        yield first, last
        first = last


def shingles_of(texts: Bytes, first: int, last: int, size: int, by_words: bool) -> Shingles:
    """Shingles of the texts [first, last), repeated ones included."""
    offsets = texts.offsets[first : last + 1] - texts.offsets[first]
    data = texts.data[texts.offsets[first] : texts.offsets[last]]
    begins, ends, owners = _units(data, offsets, by_words)
    num = max(len(begins) - size + 1, 0)
    is_inside = owners[:num] == owners[size - 1 :] if num else np.zeros(0, bool)
    starts_S, ends_S, owners_S = begins[:num][is_inside], ends[size - 1 :][is_inside], owners[:num][is_inside]
    counts = np.bincount(owners_S, minlength=last - first)
    short = np.flatnonzero(counts == 0)
    if len(short):
        order = np.argsort(np.concatenate([owners_S, short]), kind="stable")
        starts_S = np.concatenate([starts_S, offsets[short]])[order]
        ends_S = np.concatenate([ends_S, offsets[short + 1]])[order]
        counts[short] = 1
    return Shingles(_hashes(data, starts_S, ends_S), np.concatenate([[0], np.cumsum(counts)]))


def distinct(shingles: Shingles) -> Shingles:
    """Every text's hashes once, in rising order."""
    owners = np.repeat(np.arange(len(shingles.starts) - 1), np.diff(shingles.starts))
    order = np.lexsort((shingles.hashes, owners))
    hashes, owners = shingles.hashes[order], owners[order]
    is_new = np.ones(len(hashes), bool)
    is_new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    counts = np.bincount(owners[is_new], minlength=len(shingles.starts) - 1)
    return Shingles(hashes[is_new], np.concatenate([[0], np.cumsum(counts)]))


def mixed(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: a permutation of 64-bit numbers that spreads every bit over all."""
    values = values ^ (values >> np.uint64(30))
    values = values * np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _units(data: np.ndarray, offsets: np.ndarray, by_words: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first byte, end, text) of every word or character."""
    if by_words:
        is_letter = data != SPACE
        is_edge = np.zeros(len(data) + 1, bool)
        is_edge[offsets] = True
        before, after = np.zeros(len(data), bool), np.zeros(len(data), bool)
        before[1:], after[:-1] = is_letter[:-1], is_letter[1:]
        begins = np.flatnonzero(is_letter & (~before | is_edge[:-1]))
        ends = np.flatnonzero(is_letter & (~after | is_edge[1:])) + 1
    else:
        begins = np.flatnonzero((data & 0xC0) != 0x80)  # UTF-8: every byte but the later ones of a character
        ends = np.append(begins[1:], len(data)) if len(begins) else begins
    return begins, ends, np.searchsorted(offsets, begins, "right") - 1


def _hashes(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    sums = np.zeros(len(data) + 1, np.uint64)
    np.cumsum((data.astype(np.uint64) + np.uint64(1)) * _powers(BASE, len(data)), out=sums[1:])
    return mixed((sums[ends] - sums[starts]) * _powers(INVERSE, len(data) + 1)[starts])


def _powers(base: np.uint64, count: int) -> np.ndarray:
    """base^0, base^1, ... modulo 2^64."""
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, dtype=np.uint64)
