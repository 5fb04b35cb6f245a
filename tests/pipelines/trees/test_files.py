"""Importers on small real files, and on files with one thing wrong."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from pipelines.errors import SourceError
from pipelines.trees.files import ImportedTrees, read_trees
from pipelines.trees.omegaprm import longest_prefixes
from pipelines.warehouse import Warehouse

SAMPLES = {  # nodes, merged, depth, outcomes
    "omegaprm_tree": (11, 0, 3, {1.0: 4}),
    "omegaprm_prefixes": (7, 3, 3, {1.0: 3}),
    "tree_of_thoughts_game24": (55, 4, 4, {0.0: 4, 1.0: 1}),
    "tree_of_thoughts_crosswords": (49, 0, 4, {}),
}


def read(path: Path) -> ImportedTrees:
    return read_trees(path, "import-x", held_out_fraction=0.2)


def write(folder: Path, *rows: object) -> Path:
    path = folder / "trees.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


# the real samples -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_has_its_nodes_edges_and_outcomes(name, data_dir):
    trees = read(data_dir / f"{name}.jsonl")
    num_nodes, num_merged, depth, outcomes = SAMPLES[name]
    nodes = trees.search_nodes.to_pylist()
    assert (trees.num_trees, trees.problems.num_rows, trees.num_merged) == (1, 1, num_merged)
    assert (len(nodes), trees.search_edges.num_rows) == (num_nodes, num_nodes - 1)
    assert max(node["depth"] for node in nodes) == depth
    assert Counter(node["outcome_reward"] for node in nodes if node["outcome_reward"] is not None) == outcomes


@pytest.mark.parametrize("name", SAMPLES)
def test_parents_come_before_children_and_values_are_in_range(name, data_dir):
    nodes = read(data_dir / f"{name}.jsonl").search_nodes.to_pylist()
    assert [node["node_id"] for node in nodes] == list(range(len(nodes)))
    assert (nodes[0]["parent_id"], nodes[0]["depth"], nodes[0]["step_text"]) == (None, 0, "")
    for node in nodes[1:]:
        assert node["parent_id"] < node["node_id"]
        assert node["depth"] == nodes[node["parent_id"]]["depth"] + 1
        assert node["step_text"] == node["step_text"].strip() != ""
    for key in ("value", "raw_value"):
        assert all(node[key] is None or 0 <= node[key] <= 1 for node in nodes)
        assert any(node[key] is not None for node in nodes)


@pytest.mark.parametrize("name", SAMPLES)
def test_an_import_passes_the_checks_of_the_lake(name, data_dir):
    trees = read(data_dir / f"{name}.jsonl")
    tables = {key: getattr(trees, key) for key in ("problems", "search_nodes", "search_edges")}
    with Warehouse.over(tables) as warehouse:
        for check in (
            "search_nodes_form_trees", "search_edges_join_nodes", "problems_exist", "unique_keys", "values_in_range",
        ):  # fmt: skip
            assert warehouse.named(f"checks/{check}").num_rows == 0


def test_omegaprm_nodes_keep_the_values_of_the_file_and_have_no_visits(data_dir):
    trees = read(data_dir / "omegaprm_tree.jsonl")
    nodes = trees.search_nodes.to_pylist()
    assert (nodes[0]["value"], nodes[0]["raw_value"], nodes[0]["visit_count"]) == (0.25, 0.25, None)
    ends = [node for node in nodes if node["is_terminal"]]
    assert all("\\boxed{\\frac{11}{36}}" in node["step_text"] for node in ends)
    assert {node["value"] for node in nodes if not node["is_terminal"]} == {0.25, 0.0, 0.1875, 0.03125}
    assert trees.problems["reference_answer"].to_pylist() == ["\\frac{11}{36}"]


def test_omegaprm_prefixes_that_occur_twice_are_one_node_with_the_mean_value(data_dir):
    row = json.loads((data_dir / "omegaprm_prefixes.jsonl").read_text(encoding="utf-8"))
    found = Counter(step["solution_prefix"] for step in row["reasoning_steps"])
    nodes = read(data_dir / "omegaprm_prefixes.jsonl").search_nodes.to_pylist()
    assert len(nodes) == len(found)
    assert (0.125 + 0.21875) / 2 in [node["value"] for node in nodes]
    for node in nodes:  # the steps of a path make up its prefix again
        texts, at = [], node
        while at["parent_id"] is not None:
            texts.insert(0, at["step_text"])
            at = nodes[at["parent_id"]]
        assert "".join("".join(texts).split()) in {"".join(text[len(row["question"]) :].split()) for text in found}


def test_game24_visits_are_the_final_outputs_that_pass_and_values_their_share_of_right_ones(data_dir):
    row = json.loads((data_dir / "tree_of_thoughts_game24.jsonl").read_text(encoding="utf-8"))
    nodes = read(data_dir / "tree_of_thoughts_game24.jsonl").search_nodes.to_pylist()
    assert (nodes[0]["visit_count"], nodes[0]["value"]) == (5, 0.2)
    first = row["steps"][0]
    votes_of = dict(reversed(list(zip(first["new_ys"], first["values"], strict=True))))  # repeated ones: the first
    assert len(votes_of) < len(first["new_ys"])
    for candidate, votes in votes_of.items():
        node = next(node for node in nodes if node["depth"] == 1 and node["step_text"] == candidate.strip())
        passing = [info["r"] for text, info in zip(row["ys"], row["infos"], strict=True) if text.startswith(candidate)]
        assert node["visit_count"] == len(passing)
        assert node["value"] == (sum(passing) / len(passing) if passing else None)
        assert node["raw_value"] == pytest.approx(votes / 60)


def test_crossword_states_are_visits_whose_return_is_the_share_of_right_words(data_dir):
    row = json.loads((data_dir / "tree_of_thoughts_crosswords.jsonl").read_text(encoding="utf-8"))
    trees = read(data_dir / "tree_of_thoughts_crosswords.jsonl")
    root = trees.search_nodes.to_pylist()[0]
    shares = [state["info"]["r_word"] for state in row["trace"]]
    assert (root["visit_count"], root["value"]) == (48, pytest.approx(sum(shares) / 48))
    assert trees.problems["reference_answer"].to_pylist() == [None]


def test_a_packed_file_gives_the_same_rows_and_another_name_gives_other_ids(data_dir, tmp_path):
    plain = data_dir / "omegaprm_tree.jsonl"
    packed = tmp_path / "omegaprm_tree.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read(packed).search_nodes.drop_columns("problem_id") == read(plain).search_nodes.drop_columns("problem_id")
    other = read_trees(plain, "import-y", 0.2)
    assert set(other.search_nodes["tree_id"].to_pylist()).isdisjoint(read(plain).search_nodes["tree_id"].to_pylist())
    assert set(other.problems["problem_id"].to_pylist()).isdisjoint(read(plain).problems["problem_id"].to_pylist())


def test_the_longest_prefix_is_found_among_nested_and_foreign_ones():
    assert longest_prefixes(["ab", "a", "abc", "b", "abd"]) == {
        "a": None,
        "ab": "a",
        "abc": "ab",
        "abd": "ab",
        "b": None,
    }


def test_a_very_deep_tree_is_read_without_recursion(tmp_path):
    text = '{"text": "s", "mc_value": 0.5, "children": ['
    depth = 400  # deeper than any real tree, within what the JSON reader takes
    line = '{"question": "q", "final_answer": "1", "reasoning_steps": ' + text * depth + "]}" * depth + "}"
    assert read(write(tmp_path, line)).search_nodes["depth"].to_pylist()[-1] == depth - 1


# files with one thing wrong ---------------------------------------------------------------------

NESTED = {"question": "q", "final_answer": "1", "reasoning_steps": {"text": "q", "mc_value": 0.5, "children": []}}
FLAT = {"question": "q", "final_answer": "1", "reasoning_steps": [{"solution_prefix": "q", "mc_value": 0.5}]}
LEVEL = {"ys": [""], "new_ys": ["1 + 1 = 2\n"], "values": [3.0]}
GAME = {"puzzle": "1 1", "steps": [LEVEL], "ys": ["1 + 1 = 2\n"], "infos": [{"r": 0}]}
STATE = {"actions": ["h1. a"], "info": {"r_word": 0.1}}
WRONG = [
    ("not json", "line 1: the line is \"not json\", but must be one JSON object in UTF-8"),
    ([1], "line 1: the line is [1], but must be a JSON object"),
    ({"question": "q", "answer": "1"}, "line 1: no tree in the fields question, answer. Known are OmegaPRM"),
    ({"idx": 1, "ys": [], "infos": []}, "`ys` without `steps` are independent samples"),
    (NESTED | {"final_answer": 1}, "`final_answer` is 1, but must be text"),
    ({"reasoning_steps": {}}, "the field `question` is missing; there are reasoning_steps"),
    (NESTED | {"reasoning_steps": {"text": "q", "mc_value": 1.5, "children": []}},
     "`reasoning_steps.mc_value` is 1.5, but must be a number from 0 to 1"),
    (NESTED | {"reasoning_steps": {"text": "q", "mc_value": 1, "children": [{"text": "a", "mc_value": True}]}},
     "`reasoning_steps.children[0].mc_value` is true, but must be a number from 0 to 1"),
    (NESTED | {"reasoning_steps": {"text": "q", "mc_value": 1}},
     "the field `children` of `reasoning_steps` is missing; there are text, mc_value"),
    (NESTED | {"reasoning_steps": {"text": "q", "mc_value": float("nan"), "children": []}}, "is NaN, but must be"),
    (FLAT | {"reasoning_steps": []}, "`reasoning_steps` is [], but must be a tree with at least its root"),
    (FLAT | {"reasoning_steps": [*FLAT["reasoning_steps"], {"solution_prefix": "other", "mc_value": 1}]},
     "`reasoning_steps[1].solution_prefix` is \"other\", but must be a text that begins with the shortest one, 'q'"),
    (GAME | {"steps": [LEVEL | {"values": [61]}]}, "`steps[0].values[0]` is 61, but must be a number from 0 to 60"),
    (GAME | {"steps": [LEVEL | {"values": []}]}, "`steps[0].values` is 0, but must be a list as long as `new_ys`, 1"),
    (GAME | {"steps": [LEVEL, LEVEL | {"ys": ["2"], "new_ys": ["3"]}]},
     "`steps[1].new_ys[0]` is \"3\", but must be a continuation of one of the texts in `ys`"),
    (GAME | {"ys": ["x"]}, "`ys[0]` is \"x\", but must be one of the candidates in `steps`"),
    (GAME | {"infos": [{"r": 0.5}]}, "`infos[0].r` is 0.5, but must be 0 (wrong) or 1 (right)"),
    (GAME | {"infos": []}, "`infos` is 0, but must be a list as long as `ys`, 1"),
    ({"idx": 1, "trace": [STATE | {"actions": ["a", "b"]}]},
     "`trace[0].actions` is [\"a\", \"b\"], but must be an action after those of an earlier state"),
    ({"idx": 1, "trace": [STATE | {"info": None}]}, "`trace[0].info` is null, but must be an object with `r_word`"),
    ({"idx": "1", "trace": []}, "`idx` is \"1\", but must be an integer"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_a_wrong_file_is_refused_with_line_field_value_and_what_would_be_right(row, message, tmp_path):
    with pytest.raises(SourceError) as caught:
        read(write(tmp_path, row))
    assert message in str(caught.value)
    assert str(caught.value).startswith("trees.jsonl, line 1: ")
    assert "\n" not in str(caught.value)


def test_the_line_of_the_error_is_that_of_the_file(tmp_path):
    with pytest.raises(SourceError, match="trees.jsonl, line 3: "):
        read(write(tmp_path, NESTED, "", NESTED | {"question": 3}))


def test_missing_damaged_and_empty_files_are_explained(tmp_path):
    with pytest.raises(SourceError, match="no.jsonl cannot be read: No such file or directory"):
        read(tmp_path / "no.jsonl")
    damaged = tmp_path / "cut.jsonl.gz"
    damaged.write_bytes(gzip.compress(json.dumps(NESTED).encode() * 100)[:60])
    with pytest.raises(SourceError, match="damaged after line 0"):
        read(damaged)
    with pytest.raises(SourceError, match="holds no trees"):
        read(write(tmp_path, ""))
