"""Step values, first errors, splices and reflections of a tree small enough to work out, and of any tree."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critics.evidence import Evidence, subtree_counts
from pipelines.config import TreeExtractsConfig
from pipelines.rows import rows_to_table
from pipelines.tables import SCHEMAS
from pipelines.tree_extracts import TreeExtracts, extract_trees

NIGHT = "2026-11-03"
TABLES = ("node_values", "first_errors", "splices", "reflections")
PROBLEMS = rows_to_table(
    "problems",
    [
        {"problem_id": "p", "prompt": "1+2*3", "split": "train"},
        {"problem_id": "held", "prompt": "2+2", "split": "held_out"},
    ],
)


def make_node(node_id: int, parent_id: int | None, text: str, depth: int, *, right: int | None = None, samples: int = 4,
              outcome: float | None = None, tree: str = "t", problem: str = "p") -> dict:  # fmt: skip
    """A node of which `right` of `samples` completions were right, or a terminal with its outcome."""
    is_terminal = outcome is not None
    raw_value = outcome if is_terminal else None if right is None else right / samples
    return {
        "tree_id": tree, "node_id": node_id, "parent_id": parent_id, "problem_id": problem, "depth": depth,
        "step_text": text, "raw_value": raw_value, "num_samples": 1 if is_terminal else 0 if right is None else samples,
        "is_terminal": is_terminal, "outcome_reward": outcome, "night": NIGHT,
    }  # fmt: skip


#                      right of 4                  right of 4
#   0 -- 1 "1+2=3"     3 -- 3 "#### 9" right
#     |                  `- 4 "3*3=6"               0 -- 5 "#### 6" wrong
#     `- 2 "1+2=4"     1 -- 6 "#### 12" wrong
TREE = [
    make_node(0, None, "", 0), make_node(1, 0, "1+2=3", 1, right=3), make_node(2, 0, "1+2=4", 1, right=1),
    make_node(3, 1, "#### 9", 2, outcome=1.0), make_node(4, 1, "3*3=6", 2, right=0),
    make_node(5, 4, "#### 6", 3, outcome=0.0), make_node(6, 2, "#### 12", 2, outcome=0.0),
]  # fmt: skip


def path_of(nodes: list[dict], leaf: dict) -> list[dict]:
    """Nodes from the first step to the leaf."""
    by_id = {node["node_id"]: node for node in nodes if node["tree_id"] == leaf["tree_id"]}
    path = [leaf]
    while path[-1]["parent_id"] is not None:
        path.append(by_id[path[-1]["parent_id"]])
    return path[-2::-1]


def rollouts_of(nodes: list[dict]) -> list[dict]:
    """One finished rollout per graded terminal, named `<tree>:<leaf>`."""
    return [
        {
            "rollout_id": f"{leaf['tree_id']}:{leaf['node_id']}", "problem_id": leaf["problem_id"],
            "tree_id": leaf["tree_id"], "leaf_node_id": leaf["node_id"], "outcome_reward": leaf["outcome_reward"],
            "steps": [node["step_text"] for node in path_of(nodes, leaf)], "finish_reason": "stop", "night": NIGHT,
        }
        for leaf in nodes
        if leaf["is_terminal"]
    ]  # fmt: skip


def extract(nodes: list[dict], *, edges: list[tuple] = (), rollouts: list[dict] | None = None, **config):
    rows = rollouts_of(nodes) if rollouts is None else rollouts
    links = [{"tree_id": tree, "from_node": origin, "to_node": target} for tree, origin, target in edges]
    made = extract_trees(
        PROBLEMS, rows_to_table("search_nodes", nodes), rows_to_table("search_edges", links),
        rows_to_table("rollouts", rows), TreeExtractsConfig(**config), NIGHT,
    )  # fmt: skip
    assert all(getattr(made, table).schema == SCHEMAS[table] for table in TABLES)
    return made


def values(made: TreeExtracts, method: str, *columns: str) -> dict[int, object]:
    """node_id -> value, or the named columns, of one method."""
    rows = [row for row in made.node_values.to_pylist() if row["method"] == method]
    return {row["node_id"]: tuple(row[name] for name in columns) if columns else row["value"] for row in rows}


# values of steps ----------------------------------------------------------------------------------


def test_own_completions_are_those_that_started_at_the_node():
    counts = values(extract(TREE), "completions", "num_right", "num_completions", "value")
    assert counts == {1: (3, 4, 0.75), 2: (1, 4, 0.25), 3: (1, 1, 1.0), 4: (0, 4, 0.0), 5: (0, 1, 0.0), 6: (0, 1, 0.0)}


def test_monte_carlo_values_count_every_completion_below_a_node_once():
    counts = values(extract(TREE), "monte_carlo", "num_right", "num_completions")
    assert counts == {0: (5, 15), 1: (4, 10), 2: (1, 5), 3: (1, 1), 4: (0, 5), 5: (0, 1), 6: (0, 1)}
    assert values(extract(TREE), "monte_carlo")[0] == pytest.approx(1 / 3)


def test_equal_samples_that_end_in_one_leaf_count_as_often_as_they_came():
    """Best of 16 whose samples are 14 times one right solution and twice one wrong solution: 14 of 16, not 1 of 2."""
    leaves = [make_node(1, 0, "#### 9", 1, outcome=1.0), make_node(2, 0, "#### 8", 1, outcome=0.0)]
    nodes = [make_node(0, None, "", 0), leaves[0] | {"num_samples": 14}, leaves[1] | {"num_samples": 2}]
    counts = values(extract(nodes), "monte_carlo", "num_right", "num_completions", "value")
    assert counts == {0: (14, 16, 0.875), 1: (14, 14, 1.0), 2: (0, 2, 0.0)}


def test_the_interval_is_wilsons():
    """For 0 of n it is [0, z^2 / (n + z^2)]; for 4 of 10 the textbook has 0.168 to 0.687."""
    bounds = values(extract(TREE), "monte_carlo", "low", "high")
    assert bounds[4] == pytest.approx((0.0, 1.959964**2 / (5 + 1.959964**2)))
    assert bounds[1] == pytest.approx((0.16818, 0.68733), abs=1e-5)
    assert bounds[3][1] == 1.0


def test_posterior_quantiles_are_those_of_the_beta_distribution_with_a_uniform_prior():
    """0 of 1: Beta(1, 2) has the distribution 1 - (1 - x)^2; 1 of 1: Beta(2, 1) has x^2."""
    made = values(extract(TREE, num_quantiles=2), "beta_quantiles", "value", "quantiles")
    assert made[5] == (pytest.approx(1 / 3), pytest.approx([1 - 0.75**0.5, 1 - 0.25**0.5]))
    assert made[3] == (pytest.approx(2 / 3), pytest.approx([0.25**0.5, 0.75**0.5]))
    assert made[1][0] == pytest.approx(5 / 12)


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        # V: 1 -> 0.75, 2 -> 0.25, 3 -> 1, 4, 5 and 6 -> 0
        (0.0, {0: 0.5, 1: 0.5, 2: 0.0, 4: 0.0}),
        (0.5, {0: 0.375, 1: 0.5, 2: 0.0, 4: 0.0}),  # root: ((0.75 + 0.5) / 2 + (0.25 + 0) / 2) / 2
        (1.0, {0: 0.25, 1: 0.5, 2: 0.0, 4: 0.0}),  # root: (0.5 + 0) / 2
    ],
)
def test_td_targets_lie_between_the_next_estimates_and_the_ends_of_the_tree(decay, expected):
    assert values(extract(TREE, td_lambda=decay), "td_lambda") == pytest.approx({**expected, 3: 1.0, 5: 0.0, 6: 0.0})


def test_a_node_that_nobody_valued_takes_no_part_in_td_targets():
    nodes = [*TREE, make_node(7, 0, "1+2=5", 1)]
    assert values(extract(nodes), "td_lambda") == values(extract(TREE), "td_lambda")


def test_process_rewards_are_those_of_rest_mcts():
    """m: 2 at the root, 1 at node 1, 0 at node 3; nodes 4 and 5 take the 1 of node 1, nodes 2 and 6 the root's 2."""
    made = values(extract(TREE), "rest_mcts", "value", "step_reward", "num_steps_left")
    assert made == {
        1: (0.5, 0.5, 1),  # 0 + (1 - 0) / 2
        3: (1.0, 0.5, 0),  # 0.5 + (1 - 0.5) / 1
        4: (0.25, -0.25, 1),  # 0.5 - (1 - 0.5) / 2
        5: (0.0, -0.375, 1),  # max(0, 0.25 - (1 - 0.25) / 2)
        2: (0.0, pytest.approx(-1 / 3), 2),  # max(0, 0 - 1 / 3)
        6: (0.0, pytest.approx(-1 / 3), 2),
    }


def test_process_rewards_need_a_right_answer_in_the_tree_and_a_graded_end_below_the_step():
    assert values(extract(TREE[:3] + TREE[4:]), "rest_mcts") == {}
    assert 7 not in values(extract([*TREE, make_node(7, 1, "3*3=8", 2, right=1)]), "rest_mcts")


def test_a_merged_step_counts_for_both_its_parents_and_once_for_the_root():
    made = extract(TREE, edges=[("t", 0, 1), ("t", 1, 4), ("t", 2, 4)])
    counts = values(made, "monte_carlo", "num_right", "num_completions")
    assert (counts[0], counts[1], counts[2]) == ((5, 15), (4, 10), (1, 10))
    # node 2 has two children now: (0 + 0) / 2; node 4's value is unchanged
    assert values(made, "td_lambda")[2] == 0.0


def test_an_edge_back_up_the_tree_is_left_out():
    assert extract(TREE, edges=[("t", 5, 0), ("t", 5, 4)]).node_values.equals(extract(TREE).node_values)


def test_a_critics_estimates_are_no_completions():
    critic = {"raw_value": 0.9, "num_samples": 0}
    nodes = [node if node["is_terminal"] or not node["node_id"] else node | critic for node in TREE]
    made = extract(nodes)
    assert values(made, "monte_carlo", "num_right", "num_completions")[0] == (1, 3)
    assert set(values(made, "completions")) == {3, 5, 6}
    assert values(made, "td_lambda")[4] == 0.0


# first errors -------------------------------------------------------------------------------------


def test_the_first_error_is_the_step_after_which_nothing_was_right_any_more():
    at_5, at_6 = extract(TREE).first_errors.to_pylist()
    assert (at_5["rollout_id"], at_5["step"], at_5["node_id"], at_5["last_good_node_id"]) == ("t:5", 1, 4, 1)
    assert (at_5["num_right_before"], at_5["num_completions_before"], at_5["num_completions_after"]) == (4, 10, 5)
    assert at_5["confidence"] == pytest.approx(1 - 0.6**5)
    assert (at_6["step"], at_6["node_id"], at_6["last_good_node_id"], at_6["confidence"]) == (1, 6, 2, 1.0)


def test_a_step_with_too_few_completions_after_it_is_no_first_error_unless_it_is_the_last():
    assert [row["rollout_id"] for row in extract(TREE, min_completions=6).first_errors.to_pylist()] == ["t:6"]


def test_a_problem_that_was_never_solved_in_its_tree_has_no_first_errors():
    hopeless = [make_node(0, None, "", 0), make_node(1, 0, "x", 1, right=0), make_node(2, 1, "y", 2, outcome=0.0)]
    assert extract(hopeless).first_errors.num_rows == 0


@pytest.mark.parametrize(
    "change",
    [{"finish_reason": "length"}, {"error": "ServerError: 500", "outcome_reward": None}, {"tree_id": None}],
)
def test_only_finished_tree_rollouts_have_first_errors(change):
    rollouts = [row | change for row in rollouts_of(TREE)]
    assert extract(TREE, rollouts=rollouts).first_errors.num_rows == 0


# splices and reflections --------------------------------------------------------------------------


def splices(nodes: list[dict], **config) -> list[dict]:
    return sorted(extract(nodes, **config).splices.to_pylist(), key=lambda row: -row["value_gap"])


def test_a_wrong_path_is_led_back_to_the_right_path_that_shares_most_of_it():
    late, early = splices(TREE)
    assert (late["prefix_steps"], late["wrong_steps"], late["right_steps"]) == (["1+2=3"], ["3*3=6"], ["#### 9"])
    assert (late["branch_node_id"], late["wrong_node_ids"], late["right_node_ids"]) == (1, [4], [3])
    assert (late["tree_id"], late["rollout_id"], late["prompt"]) == ("t", "t:5", "1+2*3")
    assert (late["right_value"], late["wrong_value"], late["value_gap"]) == (1.0, 0.0, 1.0)
    assert (early["prefix_steps"], early["wrong_steps"]) == ([], ["1+2=4", "#### 12"])
    assert (early["right_steps"], early["right_node_ids"]) == (["1+2=3", "#### 9"], [1, 3])
    assert early["value_gap"] == pytest.approx(0.4 - 0.2)


def test_splices_are_filtered_by_the_gap_and_by_the_right_paths_value():
    assert len(splices(TREE, min_value_gap=0.21)) == 1
    assert len(splices(TREE, min_right_value=0.41)) == 1
    assert len(splices(TREE, max_splices_per_problem=1)) == 1


def test_of_several_right_ways_on_the_better_one_is_taken():
    nodes = [*TREE, make_node(7, 1, "3*3=9", 2, right=0), make_node(8, 7, "#### 9", 3, outcome=1.0)]
    assert splices(nodes)[0]["right_node_ids"] == [3]  # value 1 against 1/5


@pytest.mark.parametrize("action", ["retrieve", "reflect"])
def test_trees_with_words_that_were_put_there_teach_no_words(action):
    given = [node | {"action": action if node["node_id"] == 4 else None} for node in TREE]
    made = extract(given, min_completions=1, min_value_gap=-1.0, min_right_value=0.0)
    assert (made.splices.num_rows, made.reflections.num_rows) == (0, 0)
    assert extract(TREE, min_completions=1, min_value_gap=-1.0, min_right_value=0.0).splices.num_rows > 0


def test_the_same_splice_in_two_trees_is_one_splice():
    twice = TREE + [node | {"tree_id": "u"} for node in TREE]
    assert [row["splice_id"] for row in splices(twice)] == [row["splice_id"] for row in splices(TREE)]


def test_the_transition_is_one_of_the_configured_texts_and_the_same_every_time():
    texts = ("Wait.", "No.", "Back.")
    taken = [row["transition"] for row in splices(TREE, transitions=texts)]
    assert set(taken) <= set(texts)
    assert taken == [row["transition"] for row in splices(TREE, transitions=texts)]


def test_a_reflection_points_to_the_first_error_and_keeps_the_steps_before_it():
    (row,) = extract(TREE, pointer="Step {step} is wrong.").reflections.to_pylist()
    assert (row["attempt"], row["correction"]) == (["1+2=3", "3*3=6", "#### 6"], ["1+2=3", "#### 9"])
    assert (row["first_error_step"], row["reflection"]) == (1, "Step 2 is wrong.")
    assert (row["rollout_id"], row["prompt"]) == ("t:5", "1+2*3")


def test_a_reflection_names_the_nodes_of_its_wrong_step_and_of_its_correction():
    (row,) = extract(TREE).reflections.to_pylist()
    texts = {node["node_id"]: node["step_text"] for node in TREE}
    assert [texts[node_id] for node_id in row["wrong_node_ids"]] == [row["attempt"][row["first_error_step"]]]
    assert [texts[node_id] for node_id in row["right_node_ids"]] == row["correction"][row["first_error_step"] :]
    assert texts[row["branch_node_id"]] == row["attempt"][row["first_error_step"] - 1] == "1+2=3"


def test_every_wrong_rollout_after_one_error_is_an_attempt_of_its_own():
    nodes = [*TREE, make_node(7, 4, "#### 7", 3, outcome=0.0)]
    made = extract(nodes)
    assert [row["wrong_node_ids"] for row in made.splices.to_pylist()].count([4]) == 1
    assert sorted(row["attempt"][-1] for row in made.reflections.to_pylist()) == ["#### 6", "#### 7"]


def test_trees_of_held_out_problems_are_not_read():
    made = extract([node | {"problem_id": "held"} for node in TREE])
    assert [getattr(made, table).num_rows for table in TABLES] == [0, 0, 0, 0]


def test_no_tables_make_no_rows():
    assert [getattr(extract([]), table).num_rows for table in TABLES] == [0, 0, 0, 0]


# any tree -----------------------------------------------------------------------------------------


@st.composite
def trees(draw) -> list[dict]:
    """A tree of 2 to 14 nodes whose leaves may be graded ends, completed prefixes, or never valued."""
    parents = [None] + [draw(st.integers(0, node - 1)) for node in range(1, draw(st.integers(2, 14)))]
    depths: list[int] = []
    nodes = []
    for node_id, parent in enumerate(parents):
        depths.append(0 if parent is None else depths[parent] + 1)
        is_end = node_id not in parents and draw(st.booleans())
        samples = draw(st.integers(1, 4))
        right = draw(st.none() | st.integers(0, samples))
        outcome = draw(st.sampled_from([0.0, 1.0])) if is_end else None
        text = f"step {draw(st.integers(0, 3))}"
        nodes.append(make_node(node_id, parent, text, depths[-1], right=right, samples=samples, outcome=outcome))
    return nodes


def lambda_return(nodes: list[dict], node: dict, decay: float) -> float | None:
    """The definition, read off the tree recursively; None without valued children."""
    children = [child for child in nodes if child["parent_id"] == node["node_id"] and child["raw_value"] is not None]
    parts = []
    for child in children:
        further = lambda_return(nodes, child, decay)
        value = child["raw_value"]
        parts.append(value if further is None else (1 - decay) * value + decay * further)
    return sum(parts) / len(parts) if parts else None


def quality(nodes: list[dict], node: dict) -> tuple[float, int | None]:
    """(v, m) of a node by the paper's recursion; m None where neither it nor an ancestor leads to a right answer."""

    def distance(of: dict) -> int | None:
        if of["outcome_reward"] == 1.0:
            return 0
        below = [distance(child) for child in nodes if child["parent_id"] == of["node_id"]]
        return min((steps + 1 for steps in below if steps is not None), default=None)

    own = distance(node)
    if node["parent_id"] is None:
        return 0.0, own
    value, inherited = quality(nodes, nodes[node["parent_id"]])
    is_bad = own is None
    left = inherited if is_bad else own
    return (value, None) if left is None else (max(value + (1 - value) / (left + 1) * (1 - 2 * is_bad), 0.0), left)


@pytest.mark.slow
@settings(max_examples=15)
@given(trees(), st.sampled_from([0.0, 0.3, 0.9, 1.0]))
def test_values_of_any_tree_agree_with_their_definitions(nodes, decay):
    made = extract(nodes, td_lambda=decay, num_quantiles=3)
    right, total = subtree_counts(
        [
            Evidence(
                -1 if node["parent_id"] is None else node["parent_id"], node["num_samples"],
                (node["raw_value"] or 0.0) * node["num_samples"], node["outcome_reward"],
            )
            for node in nodes
        ]
    )  # fmt: skip
    expected = {i: (round(right[i]), round(total[i])) for i in range(len(nodes)) if total[i] > 0}
    assert values(made, "monte_carlo", "num_right", "num_completions") == expected
    ends = {node["node_id"]: node["outcome_reward"] for node in nodes if node["is_terminal"]}
    returns = {node["node_id"]: lambda_return(nodes, node, decay) for node in nodes}
    known = {node_id: target for node_id, target in returns.items() if target is not None}
    assert values(made, "td_lambda") == pytest.approx(known | ends)
    rewarded = values(made, "rest_mcts", "value", "num_steps_left")
    assert all(found == pytest.approx(quality(nodes, nodes[node_id])) for node_id, found in rewarded.items())
    assert all((rewarded[leaf][0] == 1.0) == (outcome == 1.0) for leaf, outcome in ends.items() if leaf in rewarded)
    for low, value, high in values(made, "monte_carlo", "low", "value", "high").values():
        assert 0 <= low <= value + 1e-9 and value - 1e-9 <= high <= 1
    for mean, quantiles in values(made, "beta_quantiles", "value", "quantiles").values():
        assert 0 < quantiles[0] < quantiles[1] < quantiles[2] < 1 and quantiles[0] < mean < quantiles[2]


@pytest.mark.slow
@settings(max_examples=15)
@given(trees(), st.randoms(use_true_random=False))
def test_extracts_of_any_tree_hold_together_and_do_not_depend_on_the_order_of_rows(nodes, rng):
    made = extract(nodes, min_completions=1, min_value_gap=-1.0, min_right_value=0.0)
    counts = values(made, "monte_carlo", "num_right", "num_completions")
    for row in made.first_errors.to_pylist():
        path = path_of(nodes, nodes[int(row["rollout_id"].removeprefix("t:"))])
        solved = [counts[0][0] > 0] + [counts[node["node_id"]][0] > 0 for node in path]
        assert row["step"] == solved.index(False) - 1 and path[row["step"]]["node_id"] == row["node_id"]
        assert nodes[row["node_id"]]["parent_id"] == row["last_good_node_id"]
    for row in made.splices.to_pylist():
        for ids, steps in ((row["wrong_node_ids"], row["wrong_steps"]), (row["right_node_ids"], row["right_steps"])):
            path = path_of(nodes, nodes[ids[-1]])
            assert [node["step_text"] for node in path] == row["prefix_steps"] + steps
            assert [node["node_id"] for node in path][len(row["prefix_steps"]) :] == ids
        assert nodes[row["right_node_ids"][-1]]["outcome_reward"] == 1.0
        assert counts[row["wrong_node_ids"][-1]][0] == 0
    for row in made.reflections.to_pylist():
        shared = row["first_error_step"]
        assert row["attempt"][:shared] == row["correction"][:shared] and row["attempt"] != row["correction"]
    shuffled = rng.sample(nodes, len(nodes))
    again = extract(shuffled, rollouts=rollouts_of(nodes), min_completions=1, min_value_gap=-1.0, min_right_value=0.0)
    assert all(getattr(made, table).equals(getattr(again, table)) for table in TABLES)


def test_rows_are_a_plain_table_without_nulls_in_their_keys():
    made = extract(TREE)
    keys = {"node_values": ["tree_id", "node_id", "method"], "first_errors": ["rollout_id"], "splices": ["splice_id"]}
    for table, names in keys.items():
        rows: pa.Table = getattr(made, table)
        assert all(rows[name].null_count == 0 for name in [*names, "problem_id", "night"])
