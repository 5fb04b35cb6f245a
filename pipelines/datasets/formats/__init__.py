"""Formats: the published sets in the columns of the trainers that read them.

One file per family of trainers, each headed by what was read of which version; `contract` says what a format is,
`export` writes one from a version.
"""

from collections.abc import Mapping
from types import MappingProxyType

from pipelines.datasets.formats import openrlhf, tokens, trl, verl
from pipelines.datasets.formats.contract import PLAIN_TEMPLATE, Format, UserTextFn, plain_user_text, user_text_of
from pipelines.errors import FormatError
from pipelines.rows import near_names

__all__ = [
    "FORMATS", "PLAIN_TEMPLATE", "Format", "UserTextFn", "format_named", "plain_user_text", "user_text_of",
]  # fmt: skip

FORMATS: Mapping[str, Format] = MappingProxyType(
    {one.name: one for family in (trl, verl, openrlhf, tokens) for one in family.FORMATS}
)


def format_named(name: str) -> Format:
    """The format of this name; FormatError with near names where there is none."""
    if name not in FORMATS:
        raise FormatError(f"There is no format {name!r}; {near_names(name, FORMATS)}")
    return FORMATS[name]
