"""Which head a configuration asks for, how a checkpoint names it, and what is read off it as the score."""

import dataclasses
from collections.abc import Callable, Mapping

from torch import Tensor

from critics.ensembles import EnsembleHead
from critics.errors import CheckpointError
from critics.heads import HEADS, BceHead, Head, cvar, quantile
from pipelines.config import CriticConfig

HEAD_KEY = "reasonmill_head"  # of a checkpoint's config.json; absent in critics from before there were several heads
SIZES: dict[str, str] = {
    "hl_gauss": "num_bins", "two_hot": "num_bins", "quantile": "num_quantiles", "iqn": "num_quantiles",
    "grades": "num_grades", "attributes": "attributes",
}  # fmt: skip  # head -> its field that the configuration sets under the same name

ReadOff = Callable[[Head, Tensor, float], Tensor]
READ_OFFS: dict[str, ReadOff] = {
    "mean": lambda head, outputs_NK, level: head.mean(outputs_NK),
    "quantile": quantile,
    "cvar": cvar,
}
"""Name in the configuration -> score of (head, outputs, risk level)."""


def head_of(config: CriticConfig) -> Head:
    """The configured head; an ensemble where `ensemble` names members."""
    if not config.ensemble:
        return _single(config.head, config)
    members = tuple(_single(name, config) for name in config.ensemble)
    return EnsembleHead(members, config.pooling, config.dropped, config.member_weights)


def head_as_json(head: Head) -> dict[str, object]:
    """Name and fields."""
    if isinstance(head, EnsembleHead):
        members = [head_as_json(member) for member in head.members]
        stored = {"name": head.name, "members": members, "pooling": head.pooling, "dropped": head.dropped}
        return stored | ({"member_weights": head.member_weights} if head.member_weights else {})
    return {"name": head.name, **dataclasses.asdict(head)}


def head_from_json(stored: Mapping[str, object] | None) -> Head:
    """The head that `head_as_json` described, bce for None; CheckpointError for one that this version does not know."""
    if stored is None:
        return BceHead()
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    fields.pop("name", None)
    if stored.get("name") == EnsembleHead.name:
        members = tuple(head_from_json(member) for member in fields["members"])
        return EnsembleHead(members, fields["pooling"], fields["dropped"], fields.get("member_weights", ()))
    head = HEADS.get(stored.get("name"))
    if head is None or set(fields) != {field.name for field in dataclasses.fields(head)}:
        raise CheckpointError(f"the head {dict(stored)} is none of {', '.join(HEADS)} with the fields of this version")
    return head(**fields)


def _single(name: str, config: CriticConfig) -> Head:
    return HEADS[name](**{SIZES[name]: getattr(config, SIZES[name])}) if name in SIZES else HEADS[name]()
