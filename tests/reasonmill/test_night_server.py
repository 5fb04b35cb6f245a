"""The server of a workspace's pages shows reports and trees, and nothing else of the state folder."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from pipelines.errors import LakeError
from reasonmill.cli.night_server import page_server

PAGES = ("reports/2026-01-02/night.html", "reports/2026-01-02/roc.png", "trees/2026-01-02/tree_1.html")
OTHERS = ("alerts/2026-01-02.json", "reports/2026-01-02/notes.txt", "engines/engine.html")


def lineage_of(row_id: str) -> str:
    if row_id != "r 1":
        raise LakeError(f"Nothing has the id {row_id}.")
    return "the page of r 1"


@pytest.fixture
def address(tmp_path) -> Iterator[str]:
    for name in (*PAGES, *OTHERS):
        (tmp_path / "state" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "state" / name).write_text(f"this is {name}")
    (tmp_path / "secret.html").write_text("secret")
    (tmp_path / "state" / "reports" / "link.html").symlink_to(tmp_path / "secret.html")
    with page_server(tmp_path / "state", "127.0.0.1", 0, lineage_of) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def read(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as response:
        return response.read().decode()


@pytest.mark.parametrize("name", PAGES)
def test_pages_and_figures_are_shown(address, name):
    assert read(f"{address}/{name}") == f"this is {name}"


@pytest.mark.parametrize(
    "name", [*OTHERS, "reports/", "../secret.html", "reports/%2e%2e/%2e%2e/secret.html", "reports/link.html", "nothing"]
)
def test_nothing_else_is_shown_wherever_dots_and_links_lead(address, name):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        read(f"{address}/{name}")


def test_the_first_page_links_to_every_night(address):
    assert '<a href="/reports/2026-01-02/night.html">2026-01-02</a>' in read(address)
    assert '<a href="/lineage">' in read(address)


def test_the_lineage_of_a_row_is_drawn_when_it_is_asked_for(address):
    assert read(f"{address}/lineage?row=r+1") == "the page of r 1"
    assert '<input name="row"' in read(f"{address}/lineage")
    said = read(f"{address}/lineage?row=%3Cscript%3E")
    assert "Nothing has the id &lt;script&gt;." in said and '<input name="row"' in said
