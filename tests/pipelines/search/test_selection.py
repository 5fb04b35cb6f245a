"""Selection formulas against values worked out by hand."""

import math

from search_worlds import make_tree

from pipelines.search.selection import puct, uct


def visited_tree(returns_by_child, priors=None):
    tree = make_tree(len(returns_by_child), priors)
    for child, returns in enumerate(returns_by_child, start=1):
        for value in returns:
            tree.record_return(child, value)
            tree.record_return(0, value)
    return tree


def choose(formula, tree, exploration):
    return formula(tree, 0, tree.children[0], exploration=exploration)


def test_puct_adds_the_exploration_term_to_the_mean_return():
    # N_p = 4, sqrt = 2. a: 1/3 + 2*0.5/4 = 0.583; b: 0.5 + 2*0.1/2 = 0.6
    tree = visited_tree([[1, 0, 0], [0.5]], priors=[0.5, 0.1])
    assert choose(puct, tree, exploration=1.0) == 2
    # with c = 2, a: 1/3 + 0.5 = 0.833; b: 0.5 + 0.2 = 0.7
    assert choose(puct, tree, exploration=2.0) == 1


def test_puct_with_zero_exploration_is_greedy_on_the_mean_return():
    tree = visited_tree([[0.4] * 9, [0.5], [0.3]], priors=[1.0, 0.0, 1.0])
    assert choose(puct, tree, exploration=0.0) == 2


def test_puct_gives_ties_to_the_child_created_first():
    assert choose(puct, visited_tree([[0.5], [0.5]]), exploration=1.0) == 1


def test_puct_values_an_unvisited_child_at_the_mean_of_its_parent():
    # parent mean = 0.6; the unvisited b has Q = 0.6 and beats a's 0.6 only by its larger bonus
    tree = visited_tree([[0.6], []])
    assert choose(puct, tree, exploration=0.1) == 2
    assert choose(puct, tree, exploration=0.0) == 1


def test_virtual_visits_count_as_visits_without_return():
    tree = visited_tree([[1.0], [0.8]])
    assert choose(puct, tree, exploration=0.0) == 1
    tree.virtual_visits[1] = 1  # a: 1.0 / 2 = 0.5 < 0.8
    assert choose(puct, tree, exploration=0.0) == 2


def test_uct_takes_unvisited_children_first_in_order():
    assert choose(uct, visited_tree([[1.0], [], []]), exploration=1.0) == 2


def test_uct_adds_the_square_root_of_log_parent_over_visits():
    # N_p = 4: a: 0.9 + sqrt(ln 4 / 3) = 1.580; b: 0.5 + sqrt(ln 4 / 1) = 1.677
    tree = visited_tree([[0.9] * 3, [0.5]])
    assert math.isclose(math.sqrt(math.log(4) / 3), 0.680, abs_tol=1e-3)
    assert choose(uct, tree, exploration=1.0) == 2
    assert choose(uct, tree, exploration=0.0) == 1
