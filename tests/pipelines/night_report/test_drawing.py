"""Axes, labels and the flow, worked out by hand."""

import xml.etree.ElementTree as ElementTree

import pytest

from pipelines.night_report.html import cell, share, table
from pipelines.night_report.sankey import Link, node_sizes, sankey, totals
from pipelines.night_report.svg import Axis, Frame, Point, Series, log_axis, nice_axis, plot, pushed_apart, short


def test_an_axis_places_numbers_between_its_ends():
    assert Axis(10.0, 20.0, []).place(12.5) == 0.25
    assert Axis(1.0, 100.0, [], is_log=True).place(10.0) == pytest.approx(0.5)
    assert Axis(3.0, 3.0, []).place(3.0) == 0.5


def test_ticks_are_round_and_cover_the_values():
    assert [tick for tick, _ in nice_axis([3.0, 148.0], "pairs").ticks] == [0, 50, 100, 150]
    assert [tick for tick, _ in nice_axis([], "pairs").ticks] == [0, 0.25, 0.5, 0.75, 1.0]
    assert [text for _, text in log_axis([50.0, 1000.0], "tokens").ticks] == ["50", "100", "200", "500", "1k"]


def test_labels_on_one_another_are_pushed_apart_within_bounds():
    assert pushed_apart([10.0, 12.0, 40.0], 10.0, 0.0, 100.0) == [10.0, 20.0, 40.0]
    assert pushed_apart([95.0, 96.0], 10.0, 0.0, 100.0) == [90.0, 100.0]
    assert pushed_apart([], 10.0, 0.0, 100.0) == []


def test_numbers_are_short():
    assert [short(value) for value in (0.25, 12.0, 1530, 3_200_000)] == ["0.25", "12", "1.53k", "3.2M"]


def test_a_plot_is_well_formed_and_its_texts_are_escaped():
    points = [Point(1.0, 0.5, 0.4, 0.6, label="<b>&", note='"quoted" <i>')]
    frame = Frame(nice_axis([2.0], "x & y"), nice_axis([1.0], "share"))
    drawn = plot(frame, [Series("one", points, "#000000"), Series("two", points, "#111111", bar_width=0.5)], "a <plot>")
    root = ElementTree.fromstring(drawn)
    assert root.attrib["aria-label"] == "a <plot>"
    assert "<b>" not in drawn and "<i>" not in drawn


FLOW = [
    Link(0, "problems", "search", 2, 20), Link(0, "problems", "samples", 8, 80), Link(1, "search", "right", 2, 20),
    Link(1, "samples", "right", 5, 50), Link(1, "samples", "wrong", 3, 30), Link(2, "right", "kept", 4, 40),
    Link(3, "kept", "sft", 4, None), Link(3, "kept", "rl_groups", 4, 40),
]  # fmt: skip


def test_a_node_is_as_high_as_the_larger_of_what_flows_in_and_out():
    sizes = node_sizes(FLOW)
    assert sizes[0, "problems"] == 10
    assert sizes[2, "right"] == 7  # 4 go on
    assert sizes[3, "kept"] == 8  # 4 come in, and go into two sets
    assert sizes[4, "sft"] == 4


def test_a_node_counts_its_inflow_and_knows_tokens_only_where_all_are_known():
    assert totals(FLOW, 0, "problems") == (10, 100)
    assert totals(FLOW, 2, "right") == (7, 70)
    assert totals(FLOW, 4, "sft") == (4, None)


def test_the_flow_is_well_formed_and_names_every_node():
    drawn = sankey(FLOW, ("a", "b", "c", "d", "e"), {})
    texts = [node.text for node in ElementTree.fromstring(drawn).iter("text")]
    assert {"problems", "samples", "search", "right", "wrong", "kept", "sft", "rl groups"} <= set(texts)
    assert "4 rows" in texts  # sft, without tokens


def test_an_empty_flow_is_an_empty_picture():
    assert ElementTree.fromstring(sankey([], ("a", "b"), {})) is not None


def test_unknown_is_a_dash_and_never_a_zero():
    assert (cell(None), cell(0), cell(0.0), share(None), share(0.0)) == ("–", "0", "0", "–", "0.0 %")
    assert table(["a"], []) == ""
    assert "&lt;script&gt;" in table(["a"], [["<script>"]])
