import pytest
from hypothesis import given
from hypothesis import strategies as st

from critics.errors import CriticDataError
from critics.examples import cover_rows, examples_from_trees, tree_example
from critics.fold import fold_of
from tests.critics.conftest import make_node, make_problem, table, verify_prompt


def test_each_labelled_node_is_read_on_one_row_and_prefixes_need_no_row():
    # 0 - 1 - 3, 1 - 4, 0 - 2: the path to 3 also reads 1; 4 and 2 need their own rows
    rows = cover_rows([-1, 0, 0, 1, 1], [False, True, True, True, True])
    assert [(row.path, row.read) for row in rows] == [((1, 3), (0, 1)), ((1, 4), (1,)), ((2,), (0,))]


def test_rows_end_at_labelled_nodes():
    rows = cover_rows([-1, 0, 1, 2], [False, True, False, False])
    assert [(row.path, row.read) for row in rows] == [((1,), (0,))]


@given(st.data())
def test_rows_read_every_labelled_node_exactly_once(data):
    size = data.draw(st.integers(1, 20))
    parents = [-1] + [data.draw(st.integers(0, i)) for i in range(size)]
    wanted = data.draw(st.lists(st.booleans(), min_size=size + 1, max_size=size + 1))
    read = [row.path[i] for row in cover_rows(parents, wanted) for i in row.read]
    assert sorted(read) == [i for i in range(1, size + 1) if wanted[i]]


def test_a_tree_becomes_labels_pairs_and_rows():
    nodes = [make_node(2, 0, "b", 0, 2), make_node(0, None, ""), make_node(1, 0, "a", 2, 2)]
    tree = tree_example(nodes, "<verify>1+2\n")
    assert tree.steps == ("", "a", "b")
    assert [(pair.better, pair.worse) for pair in tree.pairs] == [(1, 2)]
    assert (tree.num_nodes, len(tree.rows)) == (2, 2)


def test_only_problems_of_the_asked_split_are_learned_from():
    problems = table("problems", [make_problem("p"), make_problem("q", split="held_out")])
    nodes = []
    for name in ("p", "q"):
        ids = {"tree_id": f"tree-{name}", "problem_id": name}
        nodes += [make_node(0, None, "", **ids), make_node(1, 0, "a", 2, 2, **ids)]
    examples = examples_from_trees(problems, table("search_nodes", nodes), verify_prompt)
    assert examples.problem_ids == {"p"}
    assert examples.trees[0].prompt == "<verify>1+2\n"
    assert examples_from_trees(problems, table("search_nodes", nodes), verify_prompt, split="held_out").problem_ids == {
        "q"
    }


def test_trees_without_any_success_teach_nothing():
    nodes = table("search_nodes", [make_node(0, None, ""), make_node(1, 0, "a", 0, 2)])
    assert examples_from_trees(table("problems", [make_problem("p")]), nodes, verify_prompt).trees == ()


def test_a_missing_problem_and_a_missing_parent_are_named():
    orphan = table("search_nodes", [make_node(0, None, ""), make_node(5, 3, "a", 1, 1)])
    with pytest.raises(CriticDataError, match="parent 3 of node 5"):
        examples_from_trees(table("problems", [make_problem("p")]), orphan, verify_prompt)
    with pytest.raises(CriticDataError, match="tree t belongs to problem p"):
        examples_from_trees(table("problems", [make_problem("other")]), orphan, verify_prompt)


def test_folds_and_validation_split_by_problem(toy_trees):
    examples = examples_from_trees(*toy_trees(60), verify_prompt)
    kept = examples.without_fold(1, 3)
    assert kept.problem_ids == {p for p in examples.problem_ids if fold_of(p, 3) != 1}
    assert 0 < len(kept.problem_ids) < 60
    training, validation = kept.split(0.3, seed=0)
    assert training.problem_ids | validation.problem_ids == kept.problem_ids
    assert not training.problem_ids & validation.problem_ids
    assert examples.without_fold(None, 3) is examples


def test_folds_are_the_same_in_every_process():
    assert [fold_of(f"problem-{i}", 4) for i in range(8)] == [3, 3, 3, 0, 1, 1, 1, 2]


def test_the_digest_follows_the_labels(toy_trees):
    problems, nodes = toy_trees(3)
    changed = nodes.to_pylist()
    changed[1]["raw_value"] = 0.5
    digest = examples_from_trees(problems, nodes, verify_prompt).digest()
    assert examples_from_trees(problems, nodes, verify_prompt).digest() == digest
    assert examples_from_trees(problems, table("search_nodes", changed), verify_prompt).digest() != digest
