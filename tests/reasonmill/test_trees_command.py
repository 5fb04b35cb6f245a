"""`reasonmill tree` and `reasonmill import-trees` on a small lake."""

import io
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from pipelines.errors import ReasonmillError
from pipelines.lake import Lake, rows_to_table
from reasonmill.cli.tree_text import Cut, tree_lines
from reasonmill.cli.trees import import_trees, tree

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))  # its small trees
from tree_worlds import HEAD, NODES, chain_view, fan_view, small_view

NIGHT = HEAD["night"]
GOLDEN = Path(__file__).parents[1] / "golden" / "small_tree.txt"


def drawn(view, width: int = 120, **cut: int) -> str:
    console = Console(width=width, color_system=None, record=True, file=io.StringIO())
    for line in tree_lines(view, width, Cut(**cut)):
        console.print(line, soft_wrap=line.no_wrap)
    return console.export_text()


@pytest.fixture
def lake(tmp_path, monkeypatch) -> Lake:
    """A workspace with the small tree, its rollouts, gold steps and pairs, and a second tree."""
    (tmp_path / "reasonmill.toml").write_text('[paths]\nlake = "lake"\n')
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "reasonmill.toml"))
    monkeypatch.setenv("COLUMNS", "120")
    lake = Lake(tmp_path / "lake")
    key = {"tree_id": "abc123", "problem_id": "p1", "night": NIGHT}
    nodes = [{name: value for name, value in row.items() if name != "other_parents"} | key for row in NODES]
    depths = [0, 1, 1, 2, 2, 2, 3]
    nodes = [row | {"depth": depth} for row, depth in zip(nodes, depths, strict=True)]
    nodes += [{**key, "tree_id": "abd456", "node_id": 0, "visit_count": 1, "value": 0.0}]
    edges = [{"tree_id": "abc123", "from_node": row["parent_id"], "to_node": row["node_id"]} for row in NODES[1:]]
    edges += [{"tree_id": "abc123", "from_node": 1, "to_node": 3}]
    rollouts = [
        {**key, "rollout_id": "r5", "leaf_node_id": 5, "recipe": "puct", "policy_id": "tiny"},
        {**key, "rollout_id": "r6", "leaf_node_id": 6, "recipe": "puct", "policy_id": "tiny"},
        {**key, "rollout_id": "r3", "leaf_node_id": 3, "recipe": "puct", "policy_id": "tiny"},
    ]
    rights = {"r5": [False, False], "r6": [True, False, False], "r3": [True, True]}
    gold = [
        {"rollout_id": name, "step": step, "is_right": is_right, "night": NIGHT}
        for name, steps in rights.items()
        for step, is_right in enumerate(steps)
    ]
    pairs = [
        {"pair_id": "a", "chosen_id": "abc123:2", "rejected_id": "abc123:1", "margin": 0.75, "night": NIGHT},
        {"pair_id": "b", "chosen_id": "r3", "rejected_id": "elsewhere", "margin": 1.0, "night": NIGHT},
        {"pair_id": "c", "chosen_id": "abd456:1", "rejected_id": "elsewhere", "margin": 1.0, "night": NIGHT},
    ]
    problem = {"problem_id": "p1", "prompt": "2+3*4", "reference_answer": "20", "split": "train"}
    lake.write("problems", rows_to_table("problems", [problem]))
    tables = {"search_nodes": nodes, "rollouts": rollouts, "gold_steps": gold, "preference_pairs": pairs}
    tables["search_edges"] = [{**edge, "night": NIGHT} for edge in edges]
    for table, rows in tables.items():
        lake.write(table, rows_to_table(table, rows), partition=NIGHT)
    return lake


def run(command, *arguments: str):
    app = typer.Typer()
    app.command()(command)
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, list(arguments))


# drawing ----------------------------------------------------------------------------------------


def test_the_small_tree_is_drawn_as_the_golden_text():
    lines = [line.rstrip() for line in drawn(small_view()).splitlines()]
    assert lines == GOLDEN.read_text(encoding="utf-8").splitlines()


def test_the_lake_gives_the_same_drawing_as_the_rows(lake):
    lines = [line.rstrip() for line in run(tree, "abc123").stdout.splitlines()]
    assert lines[4:] == GOLDEN.read_text(encoding="utf-8").splitlines()[4:]


def test_without_gold_steps_the_first_errors_of_the_completions_are_marked_and_the_legend_says_so(lake):
    """Of the rollout r6 (nodes 2, 4, 6) the extracts say that step 2 is the first after which nothing was right."""
    lake.write("gold_steps", rows_to_table("gold_steps", []), partition=NIGHT)
    assert "first wrong" not in run(tree, "abc123").stdout
    error = {"rollout_id": "r6", "problem_id": "p1", "tree_id": "abc123", "step": 2, "node_id": 6, "night": NIGHT}
    lake.write("first_errors", rows_to_table("first_errors", [error]), partition=NIGHT)
    text = run(tree, "abc123").stdout
    assert [line.split()[0] for line in text.splitlines() if "✗ first wrong step" in line] == ["6"]
    assert "first wrong steps: 1 (estimated" in " ".join(text.split())


def test_gold_steps_go_before_the_completions(lake):
    error = {"rollout_id": "r6", "problem_id": "p1", "tree_id": "abc123", "step": 2, "node_id": 6, "night": NIGHT}
    lake.write("first_errors", rows_to_table("first_errors", [error]), partition=NIGHT)
    text = run(tree, "abc123").stdout
    assert sorted(line.split()[0] for line in text.splitlines() if "✗ first wrong step" in line) == ["1", "4"]


def test_the_kind_of_a_step_stands_before_its_text(lake):
    nodes = lake.read("search_nodes", NIGHT).to_pylist()
    kinds = {1: "strategy:by parts", 2: "query"}
    rows = [row | {"action": kinds.get(row["node_id"])} for row in nodes if row["tree_id"] == "abc123"]
    lake.write("search_nodes", rows_to_table("search_nodes", rows), partition=NIGHT)
    text = run(tree, "abc123").stdout
    assert "[strategy:by parts] 2+3=6" in text and "[query] 2+3=5" in text
    assert "kinds of steps: 1 query, 1 strategy:by parts" in " ".join(text.split())


def test_a_wide_tree_shows_some_children_and_counts_the_others():
    text = drawn(fan_view(10), max_children=3)
    assert "… 7 more nodes, best value 0.00" in text
    assert "4 of 11 nodes drawn" in text


def test_a_deep_tree_is_cut_at_the_depth_and_a_large_one_at_the_number_of_nodes():
    text = drawn(chain_view(40), max_depth=5)
    assert "… 35 more nodes" in text and "6 of 41 nodes drawn" in text
    assert "10 of 41 nodes drawn" in drawn(chain_view(40), max_depth=40, max_nodes=10)


def test_a_marked_child_is_drawn_beyond_the_limit_and_hidden_marks_are_counted():
    text = drawn(small_view(), max_children=1)
    assert "2+3=6" in text and "first wrong step" in text
    assert "… 3 more nodes, best value 1.00, 2 of them marked" in drawn(small_view(), max_depth=1)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_of_nodes_is_wider_than_the_terminal_and_none_holds_control_characters(width):
    text = drawn(fan_view(3, "long " * 50 + "\x1b[2J\n日本語" * 20), width=width)
    lines = [line for line in text.splitlines() if "long" in line]
    assert len(lines) == 3
    assert all(len(line) <= width for line in lines)
    assert "\x1b" not in text


# commands ---------------------------------------------------------------------------------------


def test_the_beginning_of_an_id_is_enough_and_an_ambiguous_one_is_refused(lake):
    assert "tree abc123" in run(tree, "abc").stdout
    error = run(tree, "ab").exception  # names both
    assert isinstance(error, ReasonmillError)
    assert "'ab' fits several trees: abc123 (2026-01-02), abd456 (2026-01-02). Give more of the id." in str(error)


def test_an_unknown_id_names_the_near_ones(lake):
    error = run(tree, "abc124").exception
    assert "begins with 'abc124'. The nearest are abc123, abd456;" in str(error)
    assert "\n" not in str(error)


def test_a_night_without_trees_and_an_empty_lake_say_what_to_do(lake):
    assert "There is no tree of 2026-01-03 in the lake" in str(run(tree, "abc", "--night", "2026-01-03").exception)
    assert "There is no tree of 2026-01-03 in the lake yet" in run(tree, "--night", "2026-01-03").stdout.replace(
        "\n", " "
    )


@pytest.mark.parametrize("arguments", [(), ("list",)])
def test_without_an_id_trees_are_listed_the_most_mixed_first(lake, arguments):
    lines = run(tree, *arguments).stdout.splitlines()
    assert lines[0].split() == ["tree", "night", "nodes", "depth", "visits", "right", "wrong", "value", "problem"]
    assert lines[1].split() == ["abc123", NIGHT, "7", "3", "8", "1", "1", "0.50", "2+3*4"]
    assert lines[2].split()[0] == "abd456"


def test_html_writes_the_page_and_says_where(lake, tmp_path):
    path = tmp_path / "new" / "tree.html"
    result = run(tree, "abc", "--html", str(path))
    assert result.stdout.strip() == f"Wrote {path}"
    page = path.read_text(encoding="utf-8")
    assert 'chosen over <a href="#n1">' in page and "first wrong step" in page
    (tmp_path / "file").write_text("")
    error = run(tree, "abc", "--html", str(tmp_path / "file" / "tree.html")).exception
    assert "could not be written" in str(error)
    assert "name it" in str(run(tree, "--html", str(path)).exception)


def test_an_import_is_a_partition_of_its_own_that_can_be_drawn(lake, data_dir):
    result = run(import_trees, str(data_dir / "tree_of_thoughts_game24.jsonl"))
    name = "import-tree_of_thoughts_game24"
    assert "Trees: 1, nodes: 55 (4 repeated ones merged), problems: 1;" in result.stdout
    assert f"partition {name} of problems, search_nodes, search_edges." in result.stdout
    for table in ("problems", "search_nodes", "search_edges"):
        assert name in lake.partitions(table)
    assert lake.read("problems", "all").num_rows == 1
    tree_id = lake.read("search_nodes", name)["tree_id"][0].as_py()
    drawing = run(tree, tree_id[:8], "--night", name).stdout
    assert "to make 24." in drawing and "✓ right" in drawing
    assert run(import_trees, str(data_dir / "tree_of_thoughts_game24.jsonl")).exit_code == 0  # replaced
    assert lake.read("search_nodes", name).num_rows == 55


@pytest.mark.parametrize("name", ["2026-01-02", "all", "a/b"])
def test_an_import_can_not_take_the_name_of_a_night(lake, data_dir, name):
    result = run(import_trees, str(data_dir / "omegaprm_tree.jsonl"), "--name", name)
    assert "must begin with a letter" in str(result.exception)
    assert lake.read("search_nodes", NIGHT).num_rows == 8


def test_an_import_leaves_partitions_of_others_alone(lake, data_dir):
    lake.write("search_nodes", rows_to_table("search_nodes", []), partition="mine")
    result = run(import_trees, str(data_dir / "omegaprm_tree.jsonl"), "--name", "mine")
    assert "search_nodes/mine exists and is not an import" in str(result.exception)
