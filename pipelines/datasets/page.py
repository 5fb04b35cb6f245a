"""One self-contained HTML page: no network, no script, light and dark. All text is escaped by who puts it in."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

from pipelines.errors import WorkspaceError

TEMPLATE = Path(__file__).parent / "page.html"


def page(title: str, body: str) -> str:
    """The page; `body` is HTML."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(title=escape(title), body=body)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """An HTML table of plain texts, escaped here; the last `numbers` columns are set to the right."""
    first_number = len(header) - numbers
    head = "".join(_cell("th", text, index >= first_number) for index, text in enumerate(header))
    lines = ["".join(_cell("td", text, index >= first_number) for index, text in enumerate(row)) for row in rows]
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"
    )


def _cell(tag: str, text: str, is_number: bool) -> str:
    return f"<{tag}{' class=num' if is_number else ''}>{escape(text)}</{tag}>"


def write(path: Path, text: str) -> Path:
    """Writes a page, with its folder; WorkspaceError where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(f"The page {path} could not be written: {error.strerror or error}.") from error
    return path.absolute()
