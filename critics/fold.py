"""Which fold a problem belongs to: a stable hash of its id, the same in every process, night and language.

A critic of fold f is trained on the problems of all other folds, so it may score the rollouts of fold f.
"""

import hashlib
from collections.abc import Iterable


def unit_hash(text: str, salt: str) -> float:
    """A number in [0, 1) that depends on `salt` and `text` only (sha256; never the built-in `hash`)."""
    digest = hashlib.sha256(f"{salt}\x00{text}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def fold_of(problem_id: str, num_folds: int) -> int:
    """Fold of a problem, in 0 .. num_folds - 1; with one fold everything is in fold 0."""
    if num_folds < 1:
        raise ValueError(f"num_folds must be at least 1, not {num_folds}")
    return int(unit_hash(problem_id, "fold") * num_folds)


def ids_digest(ids: Iterable[str]) -> str:
    """sha256 (hex) of a set of ids, whatever their order."""
    return hashlib.sha256("\n".join(sorted(set(ids))).encode()).hexdigest()
