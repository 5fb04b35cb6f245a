"""Metadata of a materialisation."""

from functools import partial

import pyarrow as pa

from assets.links import lineage_link
from assets.metadata import (
    RowsSeen,
    data_version,
    num_errors,
    num_tokens,
    preview,
    rejected_preview,
    table_metadata,
)
from pipelines.config import Settings
from pipelines.lake import Lake
from pipelines.warehouse import Warehouse

PROMPTS = [{"prompt": "1+2", "reference_answer": "3", "problem_id": "p1"}]


def rows_of(table: str, rows: list[dict]) -> pa.Table:
    from pipelines.tables import SCHEMAS

    return pa.Table.from_pylist(rows, schema=SCHEMAS[table])


def test_a_preview_shows_five_rows_and_cuts_long_cells():
    rows = pa.table({"text": ["x" * 100] * 9})
    lines = preview(rows).splitlines()
    assert len(lines) == 2 + 5
    assert lines[2] == "| " + "x" * 59 + "… |"


def test_a_preview_keeps_pipes_and_line_ends_inside_their_cell():
    assert preview(pa.table({"text": ["a|b\nc"]})).splitlines()[2] == "| a\\|b⏎c |"


def test_a_preview_shows_what_a_model_wrote_as_text_and_not_as_markdown():
    rows = pa.table({"text": ["21*4+6*2", "<img src=x>", "a_b [c](d)"]})
    assert preview(rows).splitlines()[2:] == [
        r"| 21\*4+6\*2 |", r"| \<img src=x\> |", r"| a\_b \[c\]\(d\) |",
    ]  # fmt: skip


def test_a_preview_of_nothing_says_so():
    assert preview(pa.table({"text": pa.array([], pa.string())})) == "*no rows*"


def test_examples_of_the_filter_lead_to_their_lineage(tmp_path):
    night = "2026-01-01"
    rollout = {"rollout_id": "r_1", "problem_id": "p", "group_id": "g", "steps": ["1+1=2"], "night": night}
    chosen = {"rollout_id": "r_1", "method": "prof", "night": night}
    tables = {
        "rollouts": rows_of("rollouts", [rollout]),
        "consistency_results": rows_of("consistency_results", [chosen | {"kept": True}]),
        "consistent_rollouts": rows_of(
            "consistent_rollouts", [{"rollout_id": "r_1", "method": "prof", "night": night}]
        ),
    }
    settings = Settings(root=tmp_path)
    with Warehouse.over(tables) as warehouse:
        shown = rejected_preview(warehouse, night, partial(lineage_link, settings))
    assert r"[r\_1](http://127.0.0.1:3001/lineage?row=r_1) |" in shown


def test_unknown_token_counts_and_empty_errors_are_left_out_of_the_sums():
    rows = pa.table({"num_tokens": [3, None, 4], "error": [None, "too long", None]})
    assert (num_tokens(rows), num_errors(rows)) == (7, 1)


def test_metadata_has_the_names_that_dagster_knows_and_stays_small(tmp_path):
    rows = rows_of("prompts", PROMPTS)
    manifest = Lake(str(tmp_path)).write("prompts", rows, partition="2026-01-02")
    metadata = table_metadata(manifest, RowsSeen().add(rows), {"yield": 0.5})
    assert metadata["dagster/row_count"] == 1
    assert [column.name for column in metadata["dagster/column_schema"].columns] == rows.column_names
    assert metadata["yield"] == 0.5


def test_writing_the_same_rows_again_keeps_the_data_version_and_other_rows_change_it(tmp_path):
    lake = Lake(str(tmp_path))
    first = lake.write("prompts", rows_of("prompts", PROMPTS), partition="2026-01-02")
    again = lake.write("prompts", rows_of("prompts", PROMPTS), partition="2026-01-02")
    other = lake.write("prompts", rows_of("prompts", PROMPTS * 2), partition="2026-01-02")
    assert first.generation != again.generation
    assert data_version(first) == data_version(again) != data_version(other)
