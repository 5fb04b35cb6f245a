"""The page of a tree: it parses, everything is in it, and nothing a model writes gets out of its place."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from tree_worlds import HEAD, chain_view, fan_view, small_view

from pipelines.trees.page import to_html
from pipelines.trees.view import build_view

VOID = {"meta", "br", "img", "input", "link"}
EVIL = '</span></div><script>alert(1)</script><img src=x onerror=alert(2)>"\' onmouseover="alert(3)$rows'


class Page(HTMLParser):
    """Tags with attributes, and text by tag; every end must belong to the last open start."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.starts: list[tuple[str, dict]] = []
        self.texts: list[tuple[dict, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.starts.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.starts[-1][1] if self.starts else {}, data))

    def nodes(self) -> dict[str, dict]:
        return {attrs["id"]: attrs for _, attrs in self.starts if attrs.get("role") == "treeitem"}

    def steps(self) -> list[str]:
        return [text for attrs, text in self.texts if attrs.get("class") == "text"]


def test_the_page_parses_and_has_a_row_per_node_in_drawing_order():
    page = Page(to_html(small_view()))
    assert list(page.nodes()) == ["n0", "n2", "n3", "n4", "n6", "n1", "n5"]
    assert [attrs["aria-level"] for attrs in page.nodes().values()] == ["1", "2", "3", "3", "4", "2", "3"]
    assert page.steps() == ["the problem", "2+3=5", "#### 20", "5*4=21", "#### 21", "2+3=6", "#### 24"]


def test_width_is_visits_and_colour_is_value():
    nodes = Page(to_html(small_view())).nodes()
    assert "--share:75%" in nodes["n2"]["style"] and "var(--high) 50%" in nodes["n2"]["style"]
    assert "--share:25%" in nodes["n1"]["style"] and "var(--low) 100%" in nodes["n1"]["style"]
    assert "--colour" not in nodes["n6"]["style"]
    assert "visits\t6\nvalue\t0.75\nraw value\t0.5" in nodes["n2"]["data-facts"]


def test_pairs_first_errors_and_outcomes_are_marked():
    text = to_html(small_view())
    rows = {row.split('"')[0]: row for row in text.split(' role="treeitem" id="n')[1:]}
    assert 'chosen over <a href="#n1">#1</a> (+0.75)' in rows["2"]
    assert 'rejected for <a href="#n2">#2</a> (+0.75)' in rows["1"] and "first wrong step" in rows["1"]
    assert "first wrong step" in rows["4"] and "first wrong step" not in rows["2"]
    assert "✓ right" in rows["3"] and "also below" in rows["3"] and "✗ wrong" in rows["5"] and "no grade" in rows["6"]


def test_kinds_of_steps_stand_before_their_texts_and_the_legend_says_who_found_the_errors():
    rows = [
        {"node_id": 0, "parent_id": None},
        {"node_id": 1, "parent_id": 0, "action": "query", "step_text": "what is 2+3"},
        {"node_id": 2, "parent_id": 1, "action": EVIL, "step_text": "5"},
    ]
    error = {"leaf_node_id": 2, "first_wrong_step": 1, "source": "first_errors"}
    page = Page(to_html(build_view(HEAD, rows, [], [error])))
    assert [text for attrs, text in page.texts if attrs.get("class") == "chip kind"] == ["query", EVIL]
    shown = {text for _, text in page.texts}
    assert "1 (estimated: no completion from there on was right)" in shown
    assert f"1 {EVIL}, 1 query" in shown or f"1 query, 1 {EVIL}" in shown
    assert "2 (by the generator's own rules)" in {text for _, text in Page(to_html(small_view())).texts}


def test_text_of_models_and_problems_is_escaped_everywhere():
    rows = [{"node_id": 0, "parent_id": None}, {"node_id": 1, "parent_id": 0, "step_text": EVIL}]
    view = build_view(dict.fromkeys(HEAD, EVIL), rows)
    page = Page(to_html(view))
    assert page.steps() == ["the problem", EVIL]
    assert [tag for tag, _ in page.starts if tag in ("script", "img")] == ["script"]
    assert [name for _, attrs in page.starts for name in attrs if name.startswith("on")] == []


def test_only_the_shipped_script_may_run_and_nothing_is_fetched():
    text = to_html(small_view(prompt=EVIL))
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text
    links = [value for _, attrs in Page(text).starts for name, value in attrs.items() if name in ("src", "href")]
    assert all(link.startswith("#n") for link in links)
    assert not re.search(r"url\(|@import|https?:", text)


@pytest.mark.parametrize(("view", "num_open"), [(chain_view(30), 30), (chain_view(2000), 59), (fan_view(500), 1)])
def test_large_trees_open_only_their_first_levels(view, num_open):
    page = Page(to_html(view))
    is_open = [attrs.get("aria-expanded") for attrs in page.nodes().values()]
    assert is_open.count("true") == num_open
    assert len(is_open) == len(view.nodes)


def test_the_way_to_a_mark_is_open_in_a_large_tree():
    rows = [{"node_id": i, "parent_id": i - 1 if i else None} for i in range(200)]
    view = build_view(HEAD, rows, [{"chosen_node": 150, "rejected_node": None, "margin": 0.5}])
    nodes = Page(to_html(view)).nodes()
    assert nodes["n149"]["aria-expanded"] == "true" and nodes["n150"]["aria-expanded"] == "false"


def test_steps_beyond_the_indented_levels_say_how_deep_they_are():
    text = to_html(chain_view(31))
    assert [int(depth) for depth in re.findall(r">depth (\d+)<", text)] == [29, 30, 31]
    assert "min(var(--depth), 28)" in text
