"""`apply` with methods of every shape: columns of any kind in, added columns or rows of the method's own out."""

import json
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pydantic import Field

from pipelines.apply import ApplyError, apply_curation, apply_method
from pipelines.catalogue import METHODS, method_rows
from pipelines.config import load_settings
from pipelines.config_models import Section
from pipelines.curation import Column, Curation
from pipelines.extensions import load_extension


class LengthParams(Section):
    """Parameters of the methods of this file."""

    limit: int = Field(2, ge=0, description="most steps")
    factors: tuple[float, ...] = Field((1.0,), description="a list")
    floor: float | None = Field(None, description="may be missing")


COLUMNS = (
    Column("rollout_id", pa.string(), "id", is_nullable=False),
    Column("steps", pa.list_(pa.string()), "the text of each step"),
    Column("num_tokens", pa.int64(), "tokens", is_required=False),
    Column("group_id", pa.string(), "group", is_required=False, stand_in="rollout_id"),
)


def measure(rows: pa.Table, params: LengthParams) -> pa.Table:
    """Backwards, to show that the order is put right."""
    lengths = pc.list_value_length(rows["steps"]).cast(pa.int64())
    made = pa.table({"position": rows["position"], "num_steps": lengths, "group": rows["group_id"],
                     "tokens": rows["num_tokens"]})  # fmt: skip
    return made.take(list(range(made.num_rows - 1, -1, -1)))


def long_ones(rows: pa.Table, params: LengthParams) -> pa.Table:
    return rows.filter(pc.greater(pc.list_value_length(rows["steps"]), params.limit)).select(["rollout_id"])


MEASURE = Curation(
    LengthParams, COLUMNS, pa.schema([("num_steps", pa.int64()), ("group", pa.string()), ("tokens", pa.int64())]),
    "rows", measure,
)  # fmt: skip
LONG_ONES = Curation(LengthParams, COLUMNS, pa.schema([("rollout_id", pa.string())]), "table", long_ones)
ROWS = [
    {"rollout_id": "a", "steps": ["x", "y", "z"]},
    {"rollout_id": 7, "steps": []},
    {"rollout_id": "c", "steps": None},
]


def write_lines(file: Path, rows: list[dict]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def read_lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def applied(tmp_path: Path, rows: list[dict], curation: Curation = MEASURE, **settings: str) -> list[dict]:
    target = tmp_path / "out.jsonl"
    apply_curation("mine", curation, write_lines(tmp_path / "in.jsonl", rows), target, settings)
    return read_lines(target)


def test_columns_of_any_schema_are_added_to_the_rows_in_their_order(tmp_path):
    assert applied(tmp_path, ROWS) == [
        ROWS[0] | {"num_steps": 3, "group": "a", "tokens": None},
        ROWS[1] | {"num_steps": 0, "group": "7", "tokens": None},
        ROWS[2] | {"num_steps": None, "group": "c", "tokens": None},
    ]


def test_an_optional_column_that_only_later_rows_have_is_read(tmp_path):
    rows = [ROWS[0], ROWS[1] | {"num_tokens": 5.0, "group_id": "g"}]
    assert [(row["tokens"], row["group"]) for row in applied(tmp_path, rows)] == [(None, None), (5, "g")]


def test_a_method_with_rows_of_its_own_writes_them(tmp_path):
    assert applied(tmp_path, ROWS, LONG_ONES) == [{"rollout_id": "a"}]
    assert applied(tmp_path, ROWS, LONG_ONES, limit="3") == []
    source = write_lines(tmp_path / "in.jsonl", ROWS)
    told = apply_curation("mine", LONG_ONES, source, tmp_path / "out.parquet", {})
    assert (told.num_rows, told.num_written, told.num_kept, told.columns) == (3, 1, None, ("rollout_id",))
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == [{"rollout_id": "a"}]


def test_a_parquet_file_may_hold_near_types(tmp_path):
    steps = pa.array([["x"], ["y", "z"]], pa.large_list(pa.large_string()))
    codes = pa.array(["a", "b"]).dictionary_encode()
    table = pa.table({"rollout_id": codes, "steps": steps, "num_tokens": pa.array([1.0, None])})
    pq.write_table(table, tmp_path / "in.parquet")
    apply_curation("mine", MEASURE, tmp_path / "in.parquet", tmp_path / "out.parquet", {})
    made = pq.read_table(tmp_path / "out.parquet")
    assert made["num_steps"].to_pylist() == [1, 2]
    assert made["tokens"].to_pylist() == [1, None]


def test_lines_with_different_keys_lose_none_of_them_on_the_way_to_parquet(tmp_path):
    source = write_lines(tmp_path / "in.jsonl", [ROWS[0], ROWS[0] | {"note": "late"}])
    apply_curation("mine", MEASURE, source, tmp_path / "out.parquet", {})
    assert pq.read_table(tmp_path / "out.parquet")["note"].to_pylist() == [None, "late"]
    source = write_lines(tmp_path / "in.jsonl", ROWS)  # ids of two kinds
    with pytest.raises(ApplyError, match="column `rollout_id` cannot stand in a Parquet file"):
        apply_curation("mine", MEASURE, source, tmp_path / "out.parquet", {})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"steps": "x"}, "row 1: `steps` is 'x', and must be a list of texts, or null"),
        ({"steps": [["x"]]}, r"row 1: `steps` is \[\['x'\]\]"),
        ({"num_tokens": 1.5}, "`num_tokens` is 1.5, and must be an integer or null"),
        ({"num_tokens": True}, "`num_tokens` is True"),
        ({"group": 1}, "has a column `group` already"),
    ],
)
def test_a_value_of_another_kind_is_named_with_its_row(tmp_path, row, message):
    with pytest.raises(ApplyError, match=message):
        applied(tmp_path, [ROWS[0] | row])


def test_a_column_that_the_result_would_replace_is_found_in_any_row(tmp_path):
    with pytest.raises(ApplyError, match="has a column `group` already"):
        applied(tmp_path, [*ROWS, ROWS[0] | {"group": 1}])


def test_a_parquet_number_that_is_no_integer_is_named(tmp_path):
    pq.write_table(pa.table({"rollout_id": ["a"], "steps": [["x"]], "num_tokens": [1.5]}), tmp_path / "in.parquet")
    with pytest.raises(ApplyError, match="rows 1 to 1: `num_tokens` must be an integer or null"):
        apply_curation("mine", MEASURE, tmp_path / "in.parquet", tmp_path / "out.parquet", {})


def test_lists_and_missing_values_can_be_set(tmp_path):
    seen = []

    def look(rows: pa.Table, params: LengthParams) -> pa.Table:
        seen.append((params.factors, params.floor))
        return rows.select(["rollout_id"])

    looking = Curation(LengthParams, COLUMNS, LONG_ONES.writes, "table", look)
    for factors, floor in (("[0.5, 1]", "none"), ("0.5,1", "0.25")):
        applied(tmp_path, ROWS, looking, factors=factors, floor=floor)
    assert seen == [((0.5, 1.0), None), ((0.5, 1.0), 0.25)]
    with pytest.raises(ApplyError, match="factors=a is not possible; factors is a list, each item a number"):
        applied(tmp_path, ROWS, looking, factors="a")


def test_a_method_that_breaks_its_own_promise_is_told(tmp_path):
    short = Curation(LengthParams, COLUMNS, MEASURE.writes, "rows", lambda rows, params: measure(rows.slice(1), params))
    with pytest.raises(ApplyError, match="mine made 2 rows for 3; it has to make exactly one for each"):
        applied(tmp_path, ROWS, short)
    other = Curation(LengthParams, COLUMNS, pa.schema([("no", pa.string())]), "rows", measure)
    with pytest.raises(ApplyError, match="mine made no column `no`"):
        applied(tmp_path, ROWS, other)


def test_the_catalogue_tells_what_a_method_reads_and_makes():
    rows = {row["method"]: row for row in method_rows()}
    assert list(rows) == sorted(METHODS)
    assert [column["name"] for column in rows["prof"]["columns_in"]] == [
        "problem_id", "rollout_id", "outcome_reward", "step_values", "group_id",
    ]  # fmt: skip
    assert rows["prof"]["columns_out"][0] == {"name": "kept", "kind": "bool"}
    assert rows["prof"]["parameters"][0]["default"] == 4
    assert (rows["puct"]["grain"], rows["puct"]["columns_in"]) == (None, [])  # a search runs on no table
    assert json.dumps(list(rows.values()))


def test_a_method_in_the_users_own_file_is_applied_and_filters_the_lake(tmp_path):
    (tmp_path / "reasonmill.toml").write_text("")
    (tmp_path / "my_methods.py").write_text(
        "import pyarrow as pa\n"
        "import pyarrow.compute as pc\n"
        "from pipelines.config_models import Section\n"
        "from pipelines.curation import DECISION, Column, Curation\n\n"
        "class Params(Section):\n    most: int = 10\n\n"
        "def short(rows, params):\n"
        "    kept = pc.less_equal(rows['num_tokens'], params.most)\n"
        "    reason = pc.if_else(kept, None, 'too_long')\n"
        "    score = rows['num_tokens'].cast(pa.float64())\n"
        "    return pa.table([rows['position'], kept, reason, score], names=['position', *DECISION.names])\n\n"
        "SHORT = Curation(Params, (Column('num_tokens', pa.int64(), 'tokens'),), DECISION, 'rows', short)\n"
        "def plain(rows, scores): return rows\n"
    )
    load = partial(load_extension, load_settings(tmp_path / "reasonmill.toml"), "filters")
    source = write_lines(tmp_path / "in.jsonl", [{"num_tokens": 3}, {"num_tokens": 30}])
    told = apply_method("my_methods.py:SHORT", source, tmp_path / "out.jsonl", {"most": "5"}, load)
    assert (told.num_kept, told.reasons) == (1, {"too_long": 1})
    assert read_lines(tmp_path / "out.jsonl")[1] == {"num_tokens": 30, "kept": False, "reason": "too_long", "score": 30}
    with pytest.raises(ApplyError, match="my_methods.py:plain is a function; a pipelines.curation.Curation is needed"):
        apply_method("my_methods.py:plain", source, tmp_path / "out.jsonl", {}, load)
