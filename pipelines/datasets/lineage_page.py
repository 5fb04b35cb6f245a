"""The lineage of a row -> one self-contained HTML page; without a script, every part opens and closes."""

from collections.abc import Sequence
from html import escape

from pipelines.datasets.lineage import Origin, VersionUse
from pipelines.datasets.page import page, table
from pipelines.trees.view import visible

OPEN_DEPTH = 2  # levels that are open at first
GIST = ("outcome", "verdict", "method", "recipe", "family", "agent", "source", "status", "ended")


def to_html(row_id: str, origins: Sequence[Origin], uses: Sequence[VersionUse], notes: Sequence[str] = ()) -> str:
    """The page of one row; `notes`: sentences on what is not as it was when versions were made."""
    body = [f"<h1>Lineage of <code>{_text(row_id)}</code></h1>"]
    body += ["<h2>Published in</h2>", _uses(uses), *(f"<p><strong>{_text(note)}</strong></p>" for note in notes)]
    body += ["<h2>Made from</h2>", *([] if origins else ["<p>Nothing in the lake has this id.</p>"])]
    body += ['<div class="tree">']
    body += [_details(origin, 0) for origin in origins]
    return page(f"Lineage of {row_id}", "\n".join([*body, "</div>"]))


def gist(origin: Origin) -> str:
    """The few facts that stand beside an origin's name."""
    facts = dict(origin.facts)
    return ", ".join(f"{facts[name]}" for name in GIST if name in facts)


def _uses(uses: Sequence[VersionUse]) -> str:
    if not uses:
        return "<p>No published version has a row with this id.</p>"
    rows = [
        (use.version, use.set_name, use.column, "" if use.num_rows is None else f"{use.num_rows:,}") for use in uses
    ]
    return table(("version", "set", "column", "rows"), rows, numbers=1)


def _details(origin: Origin, depth: int) -> str:
    role = f'<span class="role">{_text(origin.role)}</span> ' if origin.role else ""
    summary = (
        f'{role}<span class="kind">{_text(origin.kind)}</span> <span class="id">{_text(origin.row_id)}</span> '
        f'<span class="gist">{_text(gist(origin))}</span>'
    )
    facts = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in origin.facts)
    inner = "".join(_details(source, depth + 1) for source in origin.sources)
    is_open = " open" if depth < OPEN_DEPTH else ""
    return f"<details{is_open}><summary>{summary}</summary><dl class=facts>{facts}</dl>{inner}</details>"


def _text(text: str) -> str:
    return escape(visible(text))
