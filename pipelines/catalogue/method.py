"""The record of a published method: what it is, where it comes from, where its code lives."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from pipelines.curation import Curation

Tier = Literal["verified", "experimental"]


@dataclass(frozen=True)
class Method:
    """A published method and its implementation."""

    name: str
    paper: str  # authors or short title
    arxiv: str | None  # identifier; None for what has no arXiv paper
    summary: str  # one sentence
    reads: tuple[str, ...]  # tables in
    writes: tuple[str, ...]  # tables out; empty for a rule inside a report and for what is called from Python only
    params: type[BaseModel]  # frozen model with the defaults
    function: str | None  # dotted path of the code; None when it is a query
    query: str | None = None  # name of the query under sql/
    curation: Curation | None = None  # how it runs on any table (`reasonmill apply`); None: it does not
    tier: Tier = "experimental"  # verified: golden values and a measured yield
    measured: str | None = None  # yield or effect seen here, with its data; None: not measured
