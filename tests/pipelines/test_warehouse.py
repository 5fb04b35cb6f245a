import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import LakeError
from pipelines.lake import Lake, rows_to_table
from pipelines.tables import SCHEMAS
from pipelines.warehouse import QueryError, Warehouse, report_views


def score_rows(*scores: float, night: str = "n1") -> pa.Table:
    rows = [{"rollout_id": f"r{i}", "step": i, "score": score, "night": night} for i, score in enumerate(scores)]
    return rows_to_table("step_scores", rows)


def lake_with_two_nights(folder) -> Lake:
    lake = Lake(folder)
    lake.write("step_scores", score_rows(0.5, 0.25), partition="n1")
    lake.write("step_scores", score_rows(0.75, night="n2"), partition="n2")
    return lake


def test_every_table_is_a_view_with_its_declared_types_also_without_rows(tmp_path):
    with Warehouse(Lake(tmp_path)) as warehouse:
        for table, schema in SCHEMAS.items():
            rows = warehouse.query(f"select * from {table}")
            assert (rows.num_rows, rows.column_names, rows.schema.types) == (0, schema.names, schema.types), table


def test_reports_without_parameters_are_views_over_a_whole_lake(tmp_path):
    rows = [
        {"rollout_id": f"r{i}", "problem_id": "p", "group_id": "g", "outcome_reward": reward, "night": night}
        for i, (night, reward) in enumerate([("n1", 0.0), ("n1", 1.0), ("n2", 1.0)])
    ]
    lake = Lake(tmp_path)
    for night in ("n1", "n2"):
        lake.write("rollouts", rows_to_table("rollouts", [r for r in rows if r["night"] == night]), partition=night)
    with Warehouse(lake) as warehouse:
        mixed = warehouse.query("select night from difficulty_history where state = 'mixed'").to_pylist()
        with pytest.raises(QueryError, match="As for stat: did you mean state"):
            warehouse.query("select stat from difficulty_history")
        with pytest.raises(QueryError, match="As for stalenes: did you mean staleness"):
            warehouse.query("from stalenes")
        shown = set(warehouse.query("show tables")["name"].to_pylist())
        assert warehouse.query("from staleness").num_rows == 0
    assert mixed == [{"night": "n1"}]
    assert shown == set(SCHEMAS) | set(report_views())
    assert "night_trial" not in shown  # it takes a parameter
    with Warehouse(lake, ["rollouts"]) as warehouse, pytest.raises(QueryError):
        warehouse.query("from difficulty_history")


def test_a_query_sees_the_committed_rows_of_all_partitions(tmp_path):
    lake = lake_with_two_nights(tmp_path / "it's a [lake]")
    lake.write("step_scores", score_rows(1.0), partition="n1")
    with Warehouse(lake) as warehouse:
        rows = warehouse.query("select night, sum(score) as total from step_scores group by night order by night")
        assert rows.to_pylist() == [{"night": "n1", "total": 1.0}, {"night": "n2", "total": 0.75}]


def test_a_partition_of_zero_rows_is_no_obstacle(tmp_path):
    lake = lake_with_two_nights(tmp_path)
    lake.write("step_scores", score_rows(), partition="n1")
    with Warehouse(lake) as warehouse:
        assert warehouse.query("select score from step_scores")["score"].to_pylist() == [0.75]


def test_an_open_warehouse_keeps_its_view_while_a_partition_is_replaced(tmp_path):
    lake = lake_with_two_nights(tmp_path)
    with Warehouse(lake) as warehouse:
        lake.write("step_scores", score_rows(1.0), partition="n1")
        assert warehouse.query("select count(*) as n from step_scores")["n"].to_pylist() == [3]


def test_files_with_fewer_columns_than_declared_now_read_as_null(tmp_path, monkeypatch):
    lake = Lake(tmp_path)
    lake.write("step_scores", score_rows(0.5), partition="n1")
    monkeypatch.setitem(SCHEMAS, "step_scores", SCHEMAS["step_scores"].append(pa.field("note", pa.string())))
    with Warehouse(lake) as warehouse:
        assert warehouse.query("select score, note from step_scores").to_pylist() == [{"score": 0.5, "note": None}]
    later = rows_to_table("step_scores", [{"note": "new", "night": "n2"}])
    lake.write("step_scores", later, partition="n2")
    with Warehouse(lake) as warehouse:
        assert warehouse.query("select note from step_scores order by night")["note"].to_pylist() == [None, "new"]


def test_an_object_store_is_queried_like_a_folder():
    with Warehouse(lake_with_two_nights("memory://warehouse")) as warehouse:
        assert warehouse.query("select count(*) as n from step_scores")["n"].to_pylist() == [3]


def test_arrow_tables_stand_in_for_files_and_the_other_tables_are_empty():
    with Warehouse.over({"step_scores": score_rows(0.5), "extra": pa.table({"a": [1]})}) as warehouse:
        counts = "(select count(*) from step_scores) + (select sum(a) from extra) + (select count(*) from sft)"
        assert warehouse.query(f"select {counts} as n")["n"].to_pylist() == [2]


def test_rows_may_stay_in_files_of_which_the_named_columns_are_made(tmp_path):
    lake = lake_with_two_nights(tmp_path)
    with Warehouse.over(
        {"step_scores": lake.dataset("step_scores"), "rollouts": lake.dataset("rollouts")}
    ) as warehouse:
        rows = warehouse.named("consistent_rollouts/samples", ["rollout_id", "position"], source="", scorer_version="")
        assert rows.column_names == ["rollout_id", "position"]
        assert warehouse.query("select sum(score) as total from step_scores").to_pylist() == [{"total": 1.5}]


def test_a_damaged_file_of_a_dataset_is_an_explained_error_with_its_path(tmp_path):
    lake = lake_with_two_nights(tmp_path)
    rows = lake.dataset("step_scores")
    path = Path(lake.files("step_scores", "n1")[0])
    path.write_bytes(path.read_bytes()[:-8] + b"rubbish!")
    with Warehouse.over({"step_scores": rows}) as warehouse, pytest.raises(QueryError, match=re.escape(path.name)):
        warehouse.query("select sum(score) from step_scores")


def test_parameters_are_bound_and_sums_of_integers_are_integers():
    with Warehouse.over({"step_scores": score_rows(0.5, 0.25, 0.75)}) as warehouse:
        rows = warehouse.query("select sum(step) as total from step_scores where score >= $low", low=0.5)
        assert rows.to_pylist() == [{"total": 2}]
        assert rows.schema.field("total").type == pa.int64()
        with pytest.raises(QueryError, match="parameters: low"):
            warehouse.query("select * from step_scores where score >= $low")


def test_columns_of_one_name_are_told_apart():
    with Warehouse.over({}) as warehouse:
        assert warehouse.query("select 1 as a, 2 as a, 3 as a_1, 4 as a").to_pylist() == [
            {"a": 1, "a_1": 2, "a_1_1": 3, "a_2": 4}
        ]


def test_a_committed_file_that_is_damaged_is_an_explained_error(tmp_path):
    lake = lake_with_two_nights(tmp_path)
    Path(lake.files("step_scores")[0]).write_bytes(b"PAR1")
    with pytest.raises(LakeError, match="committed file of .* cannot be read"):
        Warehouse(lake)


def test_a_named_query_needs_exactly_its_parameters():
    with Warehouse.over({}) as warehouse:
        assert warehouse.named("reports/pair_margins").num_rows == 0
        with pytest.raises(QueryError, match="reports/pair_margins takes the parameters none, but was given low"):
            warehouse.named("reports/pair_margins", low=1)
        with pytest.raises(QueryError, match="no query 'reports/pair_margin'; did you mean reports/pair_margins"):
            warehouse.named("reports/pair_margin")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("select * from rollout", "Table with name rollout does not exist. As for rollout: did you mean rollouts"),
        ("select outcom_reward from rollouts", "As for outcom_reward: did you mean outcome_reward"),
        ("select r.sed from rollouts r", 'column named "sed". As for sed: did you mean .*seed'),
        ("selec 1", 'syntax error at or near "selec"'),
        ("select 1; select 2", "exactly one statement; this text has 2"),
        ("", "exactly one statement; this text has 0"),
        ("select 1/'x'", "Could not convert string 'x'"),
    ],
)
def test_a_query_that_cannot_be_run_is_explained_in_one_paragraph_with_near_names(text, message):
    with Warehouse.over({}) as warehouse, pytest.raises(QueryError) as raised:
        warehouse.query(text)
    assert re.search(message, str(raised.value))
    assert "\n" not in str(raised.value)


def test_describe_show_summarize_and_explain_are_reads_too():
    with Warehouse.over({"step_scores": score_rows(0.5)}) as warehouse:
        for text in ("describe rollouts", "show tables", "summarize step_scores", "explain select 1",
                     "from rollouts", "with a as (select 1 as x) select x from a",
                     "values (1)", "explain analyze select 1"):  # fmt: skip
            assert warehouse.query(text).num_columns > 0, text


def test_a_query_can_read_the_tables_and_nothing_else(tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    lake = lake_with_two_nights(tmp_path / "lake")
    file = lake.files("step_scores")[0]
    local_variable = score_rows(0.1)
    attempts = [
        f"select * from read_csv('{secret}')", f"select * from '{secret}'", f"select * from read_text('{secret}')",
        f"select * from glob('{tmp_path}/*')", "select * from local_variable",
        f"copy (select 1) to '{tmp_path}/out.csv'", f"copy (select 1 as a) to '{file}' (use_tmp_file false)",
        f"explain analyze copy (select 1 as a) to '{file}' (use_tmp_file false)",
        f"attach '{tmp_path}/db.duckdb'", "install httpfs", "create table t as select 1", "drop view rollouts",
        "set enable_external_access = true", "insert into step_scores (score) values (1)",
        f"explain (analyze) copy (select 1 as a) to '{file}' (use_tmp_file false)",
        f"/* a comment */ explain analyze copy (select 1 as a) to '{file}' (use_tmp_file false)",
    ]  # fmt: skip
    before = pq.read_table(file)
    with Warehouse(lake) as warehouse:
        for text in attempts:
            with pytest.raises(QueryError):
                warehouse.query(text)
        assert warehouse.query("select count(*) as n from step_scores")["n"].to_pylist() == [3]
    assert pq.read_table(file) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "secret.csv"]
    assert local_variable.num_rows == 1
