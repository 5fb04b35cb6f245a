"""A small web server for the pages of a workspace, so that the links of Dagster's UI lead somewhere.

It shows reports and trees of the state folder and nothing else of it: no alert, engine log or checkpoint.
"""

from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

FOLDERS = ("reports", "trees")
SUFFIXES = (".html", ".png")
REPORTS = "reports/*/night.html"


def page_server(state_dir: Path, host: str, port: int) -> ThreadingHTTPServer:
    """A server of the pages of a state folder, not yet answering; port 0: any that is free."""
    root = state_dir.resolve()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(root))

        def do_GET(self) -> None:
            if urlsplit(self.path).path == "/":
                self.answer(list_of_nights(root))
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


def list_of_nights(root: Path) -> str:
    """A page with a link to every night's report, the latest first."""
    reports = sorted(root.glob(REPORTS), reverse=True)
    items = "".join(
        f'<li><a href="/{path.relative_to(root).as_posix()}">{escape(path.parent.name)}</a></li>' for path in reports
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Nights</title>'
        '<body style="font: 15px/1.7 system-ui, sans-serif; margin: 2rem"><h1 style="font-size: 1.3rem">Nights</h1>'
        f"<ul>{items or '<li>no report yet</li>'}</ul></body></html>"
    )
