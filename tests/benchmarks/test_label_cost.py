import pytest

from tests.benchmarks.label_cost import SAME_COMPLETIONS, SAME_STEPS, Result, as_markdown, comparisons, thinned
from tests.critics.conftest import make_node, table


def test_completions_are_drawn_without_replacement_and_steps_stay():
    nodes = table("search_nodes", [make_node(0, None, ""), make_node(1, 0, "a", 16, 16), make_node(2, 0, "b", 3, 4)])
    found = thinned(nodes, 4, 0)
    assert found["num_samples"].to_pylist() == [0, 4, 4]
    assert found["raw_value"].to_pylist() == [None, 1.0, 0.75]  # all of 16 right: any four are; 4 of 4 are taken
    assert found.drop(["num_samples", "raw_value"]) == nodes.drop(["num_samples", "raw_value"])


def test_the_mean_of_thinned_values_is_the_value():
    nodes = table("search_nodes", [make_node(i, 0, "a", 6, 16) for i in range(1, 2001)])
    values = thinned(nodes, 1, 0)["raw_value"].to_pylist()
    assert set(values) == {0.0, 1.0}
    assert sum(values) / len(values) == pytest.approx(6 / 16, abs=0.04)
    assert thinned(nodes, 1, 0) == thinned(nodes, 1, 0)
    assert thinned(nodes, 1, 1) != thinned(nodes, 1, 0)


def test_the_tables_hold_every_comparison():
    results = [Result(name, k, 0, 8, 40, 40 * k, 0.5, 0.4, 0.6, 0.7, None) for name, k in comparisons([2, 1])]
    text = "\n".join(as_markdown(results))
    assert text.count("| 1 | 8 | 40 | 40 | 0.500 | 0.400 to 0.600 | 0.700 | – |") == 2
    assert SAME_STEPS in text and SAME_COMPLETIONS in text
