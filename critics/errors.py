"""The errors of the critics; every message names the ids and numbers that make it findable.

`CriticDataError`   the labelled steps cannot train or evaluate a critic (none left, one class, ids missing)
`CheckpointError`   a folder is no checkpoint of a critic, or does not fit its data
`VocabularyError`   a checkpoint's vocabulary is not that of its tokenizer, or has no token for the data's characters
`CriticMemoryError` one row of tokens does not fit into memory
`LeakError`         a rollout would be scored by a critic that learned from its problem
"""

from pipelines.errors import ReasonmillError


class CriticError(ReasonmillError):
    """Root of what can go wrong with a critic for reasons that a user can mend."""


class CriticDataError(CriticError):
    """The labelled steps cannot train or evaluate a critic."""


class CheckpointError(CriticError):
    """A folder holds no usable critic or initial model."""


class VocabularyError(CheckpointError):
    """The vocabularies of network, tokenizer and data differ."""


class CriticMemoryError(CriticError):
    """A batch that was halved down to a single row still does not fit into memory."""


class LeakError(CriticError):
    """A rollout would be scored by a critic whose training saw the rollout's problem."""
