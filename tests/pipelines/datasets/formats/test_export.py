"""A version's sets into files: suffixes, splits, whole problems, what is missing."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published_worlds import ASKED, NIGHT, ROWS, make_lake, make_version

from pipelines.datasets.formats import FORMATS
from pipelines.datasets.formats.export import converted, export, whole_problems
from pipelines.datasets.splits import split_of
from pipelines.errors import FormatError, WorkspaceError
from pipelines.publishing import publish
from pipelines.rows import rows_to_table


def test_parquet_and_json_lines_hold_the_same_rows(tmp_path):
    version = make_version(tmp_path)
    (parquet,) = export(version, FORMATS["trl_preference"], tmp_path / "rows.parquet")
    (lines,) = export(version, FORMATS["trl_preference"], tmp_path / "rows.jsonl")
    assert parquet.num_rows == lines.num_rows == 2
    assert [json.loads(line) for line in lines.path.read_text().splitlines()] == pq.read_table(parquet.path).to_pylist()


def test_a_folder_gets_one_file_per_split_and_a_problem_is_in_one_of_them(tmp_path):
    version = make_version(tmp_path)
    shares = {"train": 0.5, "validation": 0.5}
    written = export(version, FORMATS["trl_sft"], tmp_path / "out", shares, seed=1)
    for one in written:
        rows = pq.read_table(one.path).to_pylist() if one.path else []
        assert [row["problem_id"] for row in rows] == [
            name for name in ASKED if split_of(name, shares, seed=1) == one.split
        ]
    assert sum(one.num_rows for one in written) == 2


def test_a_split_without_rows_gets_no_file(tmp_path):
    version = make_version(tmp_path, sft=ROWS["sft"][:1])
    shares = {"train": 0.5, "validation": 0.5}
    written = export(version, FORMATS["trl_sft"], tmp_path / "out", shares)
    assert sorted(one.num_rows for one in written) == [0, 1]
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_shard_of_other_rows_is_not_exported(tmp_path):
    version = make_version(tmp_path)
    sft, preference = (
        version.path / version.manifest["sets"][name]["files"][0]["path"] for name in ("sft", "preference")
    )
    sft.write_bytes(preference.read_bytes())
    with pytest.raises(WorkspaceError, match=r"sft/train-00000-of-00001\.parquet is damaged: SHA-256"):
        export(version, FORMATS["trl_sft"], tmp_path / "rows.parquet")
    assert not (tmp_path / "rows.parquet").exists()


def test_splits_need_a_folder(tmp_path):
    with pytest.raises(FormatError, match="splits need several"):
        export(make_version(tmp_path), FORMATS["trl_sft"], tmp_path / "rows.parquet", {"train": 1.0})


def test_a_set_that_the_version_has_not_is_named_with_those_it_has(tmp_path):
    version = make_version(tmp_path, stepwise=[])
    with pytest.raises(FormatError, match="reads stepwise, and tiny-.* has only sft, preference, prompts, rl_groups"):
        export(version, FORMATS["stepwise"], tmp_path / "rows.parquet")


def test_a_format_that_leaves_no_row_writes_nothing(tmp_path):
    version = make_version(tmp_path, rl_groups=[row for row in ROWS["rl_groups"] if row["reward"] == 0.0])
    with pytest.raises(FormatError, match="no row for the format token_weights"):
        export(version, FORMATS["token_weights"], tmp_path / "rows.parquet")
    assert not (tmp_path / "rows.parquet").exists()


def test_splices_of_the_versions_night_stand_behind_the_policys_own_prompt(tmp_path):
    settings, lake = make_lake(tmp_path)
    version = publish(settings, lake, NIGHT)
    (written,) = export(version, FORMATS["spliced_sft"], tmp_path / "rows.parquet", lake=lake)
    assert pq.read_table(written.path)["prompt"].to_pylist() == ["<solve>1+2\n1+2=4\n"]


def test_splices_that_were_made_again_since_are_refused(tmp_path):
    settings, lake = make_lake(tmp_path)
    version = publish(settings, lake, NIGHT)
    lake.write("splices", rows_to_table("splices", []), partition=NIGHT)
    with pytest.raises(FormatError, match=r"are generation 00000001-.* the lake has 00000002-"):
        export(version, FORMATS["spliced_sft"], tmp_path / "rows.parquet", lake=lake)


def test_pieces_are_cut_between_problems_only():
    ids = ["a", "a", "b", "b", "b", "c"]
    table = pa.table({"problem_id": ids, "row": list(range(6))})
    pieces = list(whole_problems([table.slice(0, 1), table.slice(1, 2), table.slice(3, 0), table.slice(3, 3)]))
    assert [piece["problem_id"].to_pylist() for piece in pieces] == [["a", "a"], ["b", "b", "b"], ["c"]]
    assert pa.concat_tables(pieces)["row"].to_pylist() == list(range(6))


def test_pairs_of_a_problem_that_two_shards_share_are_unpaired_together(tmp_path):
    pair = ROWS["preference"][0]
    settings, lake = make_lake(
        tmp_path, preference=[pair | {"chosen": "a", "rejected": "b"}, pair | {"chosen": "b", "rejected": "c"}]
    )
    settings = settings.model_copy(update={"publishing": settings.publishing.model_copy(update={"max_shard_rows": 1})})
    version = publish(settings, lake, NIGHT)
    assert len(version.manifest["sets"]["preference"]["files"]) == 2
    (written,) = export(version, FORMATS["trl_unpaired"], tmp_path / "rows.parquet")
    rows = pq.read_table(written.path).to_pylist()
    assert {row["completion"]: row["label"] for row in rows} == {"a": True, "c": False}  # b is both


@pytest.mark.parametrize("name", FORMATS)
def test_a_set_that_comes_in_pieces_gives_the_rows_of_the_whole(name):
    form = FORMATS[name]
    source = form.reads[0]
    rows = [row | {"night": NIGHT} for row in ROWS[source]] * (1 if source == "preference" else 2)
    whole = rows_to_table(source, rows)
    pieces = [whole.slice(start, 1) for start in range(whole.num_rows)]
    together = pa.concat_tables(list(converted(form, pieces)))
    assert together.to_pylist() == form.convert(whole).to_pylist()


def test_no_more_than_a_row_group_is_converted_at_a_time(tmp_path):
    sizes = []

    def spied(table: pa.Table) -> pa.Table:
        sizes.append(table.num_rows)
        return FORMATS["trl_sft"].convert(table)

    settings, lake = make_lake(tmp_path, sft=[ROWS["sft"][0] | {"rollout_id": str(number)} for number in range(5)])
    settings = settings.model_copy(update={"publishing": settings.publishing.model_copy(update={"max_shard_rows": 2})})
    version = publish(settings, lake, NIGHT)
    (written,) = export(version, replace(FORMATS["trl_sft"], convert=spied), tmp_path / "rows.parquet")
    assert (sizes, written.num_rows) == ([2, 2, 1], 5)


def test_a_file_that_is_gone_is_named(tmp_path):
    version = make_version(tmp_path)
    next((version.path / "sft").iterdir()).unlink()
    with pytest.raises(FormatError, match=r"sft/train-00000-of-00001.parquet cannot be read"):
        export(version, FORMATS["trl_sft"], tmp_path / "rows.parquet")
