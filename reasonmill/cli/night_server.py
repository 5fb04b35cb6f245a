"""A small web server for the pages of a workspace, so that the links of Dagster's UI lead somewhere.

It shows reports and trees of the state folder and nothing else of it: no alert, engine log or checkpoint. The lineage
of a row is drawn when it is asked for.
"""

from collections.abc import Callable
from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from pipelines.errors import ReasonmillError
from pipelines.redaction import redacted

FOLDERS = ("reports", "trees")
SUFFIXES = (".html", ".png")
REPORTS = "reports/*/night.html"
LINEAGE = "/lineage"  # ?row=ID; without a row it asks for one


def page_server(state_dir: Path, host: str, port: int, lineage_of: Callable[[str], str]) -> ThreadingHTTPServer:
    """A server of the pages of a state folder, not yet answering; port 0: any that is free.

    `lineage_of`: the page of a row by its id; what it raises as ReasonmillError is told.
    """
    root = state_dir.resolve()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(root))

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if address.path == "/":
                self.answer(list_of_nights(root))
            elif address.path == LINEAGE:
                self.answer(lineage_page(lineage_of, parse_qs(address.query).get("row", [""])[0].strip()))
            elif is_page(root, self.path):
                super().do_GET()
            else:
                self.send_error(404, "No such page")

        def do_HEAD(self) -> None:
            self.send_error(405, "GET only")

        def answer(self, html: str) -> None:
            body = html.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is logged: the terminal belongs to Dagster."""

    return ThreadingHTTPServer((host, port), Handler)


def is_page(root: Path, address: str) -> bool:
    """Whether an address names a page or figure of a report or a tree, wherever its dots and links lead."""
    path = (root / unquote(urlsplit(address).path).lstrip("/")).resolve()
    if not path.is_file() or path.suffix not in SUFFIXES:
        return False
    return any(path.is_relative_to(root / folder) for folder in FOLDERS)


def lineage_page(lineage_of: Callable[[str], str], row_id: str) -> str:
    """The lineage of a row, or a form that asks for its id and says why there is none."""
    said = "Where did a row come from, and which versions have it?"
    if row_id:
        try:
            return lineage_of(row_id)
        except ReasonmillError as error:
            said = redacted(str(error))
    return _page(
        "Lineage",
        f'<p>{escape(said)}</p><form><input name="row" size="40" autofocus placeholder="rollout_id, pair_id, ..."> '
        "<button>trace</button></form>",
    )


def list_of_nights(root: Path) -> str:
    """A page with a link to every night's report, the latest first."""
    reports = sorted(root.glob(REPORTS), reverse=True)
    items = "".join(
        f'<li><a href="/{path.relative_to(root).as_posix()}">{escape(path.parent.name)}</a></li>' for path in reports
    )
    lineage = f'<p><a href="{LINEAGE}">the lineage of a row</a></p>'
    return _page("Nights", f"<ul>{items or '<li>no report yet</li>'}</ul>{lineage}")


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<body style="font: 15px/1.7 system-ui, sans-serif; margin: 2rem"><h1 style="font-size: 1.3rem">{title}</h1>'
        f"{body}</body></html>"
    )
