"""What counts as the same text: one normalisation for duplicates, a stronger one for the search for benchmark texts."""

import pyarrow as pa
import pyarrow.compute as pc

DUPLICATES_RULE = "NFKC, lower case, runs of white space to one space, no space at the ends"
OVERLAP_RULE = "NFKC, lower case, everything but letters and digits to one space, no space at the ends"


def normal_texts(texts: pa.ChunkedArray | pa.Array) -> pa.LargeStringArray:
    """DUPLICATES_RULE applied; null stays null. Signs are kept: `3 + 4` and `3 - 4` are two texts."""
    return _squeezed(texts, r"\s+")


def bare_texts(texts: pa.ChunkedArray | pa.Array) -> pa.LargeStringArray:
    """OVERLAP_RULE applied; null stays null."""
    return _squeezed(texts, r"[^\p{L}\p{N}]+")


def _squeezed(texts: pa.ChunkedArray | pa.Array, pattern: str) -> pa.LargeStringArray:
    lowered = pc.utf8_lower(pc.utf8_normalize(texts.cast(pa.large_string()), form="NFKC"))
    squeezed = pc.utf8_trim(pc.replace_substring_regex(lowered, pattern=pattern, replacement=" "), characters=" ")
    return squeezed.combine_chunks() if isinstance(squeezed, pa.ChunkedArray) else squeezed
