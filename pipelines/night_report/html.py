"""Small pieces of HTML: tables, notes, numbers for people. All text is escaped here, and nowhere else."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

UNKNOWN = "–"


@dataclass(frozen=True)
class Raw:
    """HTML that is already safe; `is_number`: it stands right in a column of numbers."""

    html: str
    is_number: bool = False


Cell = str | int | float | None | Raw


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table; numbers stand right, unknown ones are a dash."""
    if not rows:
        return ""
    is_number = [all(_is_number(row[index]) for row in rows) for index in range(len(heads))]
    kinds = ['class="n"' if is_right else "" for is_right in is_number]
    head = "".join(f"<th {kind}>{escape(name)}</th>" for name, kind in zip(heads, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td {kind}>{cell(value)}</td>" for value, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _is_number(value: Cell) -> bool:
    if isinstance(value, Raw):
        return value.is_number
    return (
        value is None or isinstance(value, int | float) or (isinstance(value, str) and value[:1] in "0123456789+-–−<")
    )


def cell(value: Cell) -> str:
    """A value as safe HTML."""
    if isinstance(value, Raw):
        return value.html
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return escape(f"{value:.3g}" if isinstance(value, float) else value)


def share(value: object, digits: int = 1) -> str:
    """0.5 -> 50.0 %."""
    return UNKNOWN if value is None else f"{100 * float(value):.{digits}f} %"


def signed(value: float | None, digits: int = 3) -> str:
    """+0.012, or a dash."""
    return UNKNOWN if value is None else f"{value:+.{digits}f}"


def code(words: object) -> Raw:
    """Monospaced text; null is a dash."""
    return Raw(UNKNOWN if words is None else f"<code>{escape(str(words))}</code>")


def paragraph(words: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    name = f' class="{kind}"' if kind else ""
    return f"<p{name}>{escape(words)}</p>"


def empty(why: str) -> str:
    """What stands where a section has no data."""
    return paragraph(why, "empty")


def figure(svg: str, caption: str, legend: str = "", *, is_large: bool = False) -> str:
    """A figure with its caption; on a narrow screen a large one keeps its size and is moved sideways."""
    kind = ' class="large"' if is_large else ""
    return f"<figure{kind}>{legend}<div>{svg}</div><figcaption>{escape(caption)}</figcaption></figure>"


def side_by_side(*figures: str) -> str:
    """Figures beside one another where there is room."""
    return f'<div class="side">{"".join(one for one in figures if one)}</div>'
