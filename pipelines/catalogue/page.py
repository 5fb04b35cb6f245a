"""The catalogue as one self-contained HTML page: no network, no script, light and dark. All text is escaped."""

import importlib
import json
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from string import Template

from pipelines.catalogue import FAMILIES

Row = Mapping[str, object]

TEMPLATE = Path(__file__).parent / "page.html"


def to_html(rows: Iterable[Row]) -> str:
    """The page of these methods (`method_rows`), by family."""
    every = list(rows)
    families = {name: [row for row in every if row["family"] == name] for name in FAMILIES}
    families = {name: members for name, members in families.items() if members}
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        count=len(every),
        num_verified=sum(row["tier"] == "verified" for row in every),
        contents="\n".join(
            f'<a href="#family-{_text(name)}">{_title(name)}</a> <span class="soft">{len(members)}</span>'
            for name, members in families.items()
        ),
        families="\n".join(_family(name, members) for name, members in families.items()),
    )


def _family(name: str, rows: list[Row]) -> str:
    meaning = (importlib.import_module(f"pipelines.catalogue.{name}").__doc__ or "").strip().splitlines()[0]
    methods = "\n".join(map(_method, rows))
    head = f'<h2>{_title(name)}</h2><p class="soft">{_text(meaning)}</p>'
    return f'<section id="family-{_text(name)}">{head}{methods}</section>'


def _method(row: Row) -> str:
    name, tier = _text(row["method"]), _text(row["tier"])
    measured = f"<p>Measured: {_text(row['measured'])}</p>" if row["measured"] else ""
    return (
        f'<article class="method" id="{name}"><div class="name"><h3><a href="#{name}">{name}</a></h3>'
        f'<span class="tier {tier}">{tier}</span></div>'
        f'<p>{_text(row["summary"])}</p><p class="soft">{_paper(row)}</p>{measured}'
        f"<details><summary>inputs, outputs, parameters, code</summary>{_details(row)}</details></article>"
    )


def _paper(row: Row) -> str:
    if not row["arxiv"]:
        return _text(row["paper"])
    number = _text(row["arxiv"])
    return f'{_text(row["paper"])}, <a href="https://arxiv.org/abs/{number}">arXiv {number}</a>'


def _details(row: Row) -> str:
    parts = []
    if row["reads"] or row["writes"]:
        tables = f"{_codes(row['reads'])} → {_codes(row['writes'])}"
        parts.append(f"<h4>Tables of the lake</h4><p>{tables}</p>")
    if row["columns_in"]:
        parts.append(_table("Columns read", ("column", "kind", "meaning"), map(_column, row["columns_in"])))
        made = "Columns added to every row" if row["grain"] == "rows" else "Columns of its own rows"
        parts.append(f"<h4>{made}</h4><p>{', '.join(map(_made, row['columns_out']))}</p>")
    if row["parameters"]:
        header = ("parameter", "default", "allowed", "meaning")
        parts.append(_table("Parameters", header, map(_parameter, row["parameters"])))
    query = f", query <code>sql/{_text(row['query'])}.sql</code>" if row["query"] else ""
    parts.append(f"<h4>Code</h4><p><code>{_text(row['function'])}</code>{query}</p>")
    return "".join(parts)


def _column(column: Row) -> tuple[str, ...]:
    name = f"<code>{_text(column['name'])}</code>{'' if column['is_required'] else ' (optional)'}"
    return name, _text(column["kind"]), _text(column["meaning"])


def _made(column: Row) -> str:
    return f"<code>{_text(column['name'])}</code> ({_text(column['kind'])})"


def _parameter(one: Row) -> tuple[str, ...]:
    default = "required" if one["is_required"] else json.dumps(one["default"], ensure_ascii=False)
    default = default if len(default) <= 60 else f"{default[:57]}..."
    return (
        f"<code>{_text(one['name'])}</code>",
        f"<code>{_text(default)}</code>",
        _text(one["allowed"]),
        _text(one["meaning"]),
    )


def _table(title: str, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<h4>{title}</h4><div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _codes(names: Iterable[object]) -> str:
    return ", ".join(f"<code>{_text(name)}</code>" for name in names) or "none"


def _title(family: str) -> str:
    return _text(family.replace("_", " ").capitalize())


def _text(value: object) -> str:
    return escape(str(value))
