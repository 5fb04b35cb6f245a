import pytest
from hypothesis import given
from hypothesis import strategies as st

from critics.evidence import Evidence, label_nodes, sibling_pairs, subtree_counts


def test_counts_are_summed_over_subtrees_and_a_terminal_counts_as_what_ended_there():
    nodes = [Evidence(-1, 2, 1), Evidence(0, 2, 2), Evidence(1, 5, 5, outcome=1.0), Evidence(0, 0, 0, outcome=0.0)]
    assert subtree_counts(nodes) == ([8.0, 7.0, 5.0, 0.0], [10.0, 7.0, 5.0, 1.0])


def test_labels_are_relative_to_what_the_parent_could_reach():
    # root: 2 of 4 in all, q_p = .5; right child (2 + .25) / 2.5 = .9, wrong child .25 / 2.5 = .1, m = .9
    labels = label_nodes([Evidence(-1, 0, 0), Evidence(0, 2, 2), Evidence(0, 2, 0)])
    assert [labels[1].target, labels[2].target] == pytest.approx([1.0, 1 / 9])
    assert labels[1].weight == labels[2].weight == pytest.approx(0.99)
    assert labels[2].value == pytest.approx(0.1)


def test_a_failure_below_a_hard_parent_weighs_little():
    # parent 2 of 20; the failing child: (0 + .05) / 2.5 = .02; m = max(.1, (2 + .05) / 18.5 = .1108)
    labels = label_nodes([Evidence(-1, 0, 0), Evidence(0, 18, 2), Evidence(0, 2, 0)])
    best = 2.05 / 18.5
    assert labels[2].weight == pytest.approx(1 - (1 - best) ** 2)
    assert labels[2].weight < 0.25
    assert labels[2].target == pytest.approx(0.02 / best)


def test_children_of_a_parent_without_any_success_are_masked():
    labels = label_nodes([Evidence(-1, 2, 0), Evidence(0, 2, 0), Evidence(0, 2, 0)])
    assert [label.weight for label in labels] == [0.0, 0.0, 0.0]


def test_a_lone_failing_child_is_judged_by_its_parents_own_completions():
    # parent's own 4 of 4, child 0 of 4: q_p = .5, child (0 + .25) / 4.5, m = .5
    labels = label_nodes([Evidence(-1, 4, 4), Evidence(0, 4, 0)])
    assert labels[1].target == pytest.approx((0.25 / 4.5) / 0.5)
    assert labels[1].weight == pytest.approx(1 - 0.5**4)


def test_nodes_without_completions_are_masked_and_make_no_pairs():
    nodes = [Evidence(-1, 0, 0), Evidence(0, 2, 2), Evidence(0, 0, 0)]
    labels = label_nodes(nodes)
    assert labels[2].weight == 0.0
    assert sibling_pairs(nodes, labels) == []


def test_a_graded_terminal_is_sure_of_itself():
    # q_p = 1/2; right (8 + .25) / 8.5, wrong .25 / 8.5
    labels = label_nodes([Evidence(-1, 0, 0), Evidence(0, 1, 1, outcome=1.0), Evidence(0, 1, 0, outcome=0.0)])
    assert labels[2].target == pytest.approx(0.25 / 8.25)


def test_a_pair_weighs_its_gap_times_the_weaker_evidence():
    nodes = [Evidence(-1, 0, 0), Evidence(0, 2, 2), Evidence(0, 2, 0)]
    (pair,) = sibling_pairs(nodes, label_nodes(nodes))
    assert (pair.better, pair.worse) == (1, 2)
    assert pair.weight == pytest.approx(0.8 * 0.99)


def test_parents_must_come_first():
    with pytest.raises(ValueError, match="node 0 has parent 1"):
        label_nodes([Evidence(1, 1, 1), Evidence(-1, 1, 1)])


@given(st.lists(st.tuples(st.integers(0, 8), st.floats(0, 1), st.integers(0, 50)), min_size=1, max_size=12))
def test_targets_weights_and_values_stay_in_the_unit_interval(rows):
    nodes = [Evidence(-1, 0, 0)]
    nodes += [Evidence(parent % len(nodes), num, share * num) for num, share, parent in rows for _ in range(1)]
    nodes = [nodes[0]] + [Evidence(min(n.parent, i), n.num_samples, n.num_right) for i, n in enumerate(nodes[1:])]
    for label in label_nodes(nodes):
        assert 0 <= label.target <= 1 and 0 <= label.weight <= 1 and 0 <= label.value <= 1
