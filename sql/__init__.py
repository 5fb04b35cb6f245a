"""Questions asked of tables: one DuckDB query per file, and this small reader.

A file starts with a header of comment lines: first what the query yields, then

    -- in:     the tables it reads, separated by commas
    -- params: the named parameters ($min_margin) it takes
    -- out:    the grain, or the name of the table that it yields
    -- note:   anything else worth knowing

Files of `checks/` return offending rows with the columns (table_name, row_id, night, what); no row means
that all is well. `table_name` is the table that is wrong and `night` the partition (null = the table has none).
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
FIELD = re.compile(r"--\s*(what|in|params|out|note):\s*(.*)")


@dataclass(frozen=True)
class Query:
    """One query file: `name` is its path under sql/ without suffix; the header's fields are plain text."""

    name: str
    text: str
    params: tuple[str, ...]  # named parameters in the text, sorted, without the $
    tables: tuple[str, ...]  # the tables of the header's `in:`
    title: str  # the header's first sentence
    out: str
    note: str


def names() -> list[str]:
    """Names of all queries, sorted: folder/file without suffix."""
    return sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/*.sql"))


@cache
def read(name: str) -> Query:
    """The query of that name; KeyError where there is none."""
    path = FOLDER / f"{name}.sql"
    if name not in names():
        raise KeyError(name)
    text = path.read_text(encoding="utf-8")
    header = header_of(text)
    body = "\n".join(line.partition("--")[0] for line in text.splitlines())
    return Query(
        name=name,
        text=text,
        params=tuple(sorted(set(re.findall(r"\$([a-z]\w*)", body)))),
        tables=tuple(_names_in(header.get("in", ""))),
        title=header["title"],
        out=header.get("out", ""),
        note=header.get("note", ""),
    )


def header_of(text: str) -> dict[str, str]:
    """The fields of the comment lines a query starts with; the lines before the first field are the `title`."""
    fields: dict[str, str] = {"title": ""}
    current = "title"
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        match = FIELD.match(line)
        if match:
            current, content = match[1], match[2]
        else:
            content = line.removeprefix("--").strip()
        fields[current] = f"{fields.get(current, '')} {content}".strip()
    if not fields["title"]:
        fields["title"] = fields.get("what", "")
    return fields


def _names_in(text: str) -> list[str]:
    items = re.sub(r"\([^)]*\)", "", text).split(",")
    return [match[0] for item in items if (match := re.match(r"\w+", item.strip()))]
