import errno
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import rows as rows_module
from pipelines.errors import LakeError, PartitionBusyError
from pipelines.lake import Lake, rows_to_table, write_parquet, write_shards
from pipelines.tables import SCHEMAS

REPOSITORY = Path(__file__).parents[2]


def steps(*rewards: float, night: str = "n1") -> pa.Table:
    return rows_to_table(
        "step_scores", [{"rollout_id": f"r{i}", "step": i, "score": s, "night": night} for i, s in enumerate(rewards)]
    )


def scores_in(lake: Lake, partition: str | None = "n1") -> list[float]:
    return lake.read("step_scores", partition)["score"].to_pylist()


def generations_on_disk(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read_back_with_the_declared_schema(tmp_path):
    lake = Lake(str(tmp_path))
    manifest = lake.write("step_scores", steps(0.5, 0.25), partition="n1", lineage={"rollouts": "00000001"})
    assert lake.read("step_scores").schema == SCHEMAS["step_scores"]
    assert scores_in(lake) == [0.5, 0.25]
    assert (manifest.num_rows, len(manifest.files), manifest.lineage) == (2, 1, {"rollouts": "00000001"})
    assert lake.manifest("step_scores", "n1") == manifest
    assert lake.partitions("step_scores") == ["n1"]


def test_the_manifest_holds_the_digest_and_size_of_each_file(tmp_path):
    lake = Lake(tmp_path)
    entry = lake.write("step_scores", steps(0.5), partition="n1").files[0]
    data = Path(lake.files("step_scores", "n1")[0]).read_bytes()
    assert (entry.num_bytes, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    lake.verify("step_scores", "n1")


def test_a_changed_or_lost_file_is_found_by_verify(tmp_path):
    lake = Lake(tmp_path)
    lake.write("step_scores", steps(0.5), partition="n1")
    path = Path(lake.files("step_scores", "n1")[0])
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(LakeError, match="it was changed"):
        lake.verify("step_scores", "n1")
    path.unlink()
    with pytest.raises(LakeError, match="does not exist"):
        lake.verify("step_scores", "n1")
    with pytest.raises(LakeError, match="step_scores cannot be read"):
        lake.read("step_scores")


def test_partitions_are_replaced_one_by_one_and_read_together_in_order(tmp_path):
    lake = Lake(tmp_path)
    lake.write("step_scores", steps(0.2, night="n2"), partition="n2")
    lake.write("step_scores", steps(0.1), partition="n1")
    lake.write("step_scores", steps(0.3), partition="n1")
    assert scores_in(lake, None) == [0.3, 0.2]
    assert lake.read("step_scores", "n2", columns=["night"]).to_pylist() == [{"night": "n2"}]


def test_a_table_that_was_never_written_is_empty_but_typed(tmp_path):
    lake = Lake(tmp_path / "not there yet")
    assert lake.read("rollouts").schema == SCHEMAS["rollouts"]
    assert lake.read("rollouts", columns=["seed"]).column_names == ["seed"]
    assert lake.scan("rollouts").collect().schema["steps"] == polars.List(polars.String)
    assert (lake.partitions("rollouts"), lake.files("rollouts"), lake.generation("rollouts")) == ([], [], None)


def test_scan_gives_a_lazy_frame_with_the_same_columns_with_and_without_rows(tmp_path):
    lake = Lake(tmp_path)
    empty = lake.scan("step_scores").collect_schema()
    lake.write("step_scores", steps(0.5, 0.25), partition="n1")
    frame = lake.scan("step_scores")
    assert frame.collect_schema() == empty
    assert frame.select(polars.col("score").sum()).collect().item() == 0.75


def test_a_column_declared_after_the_files_were_written_reads_as_null(tmp_path, monkeypatch):
    lake = Lake(tmp_path)
    lake.write("step_scores", steps(0.5), partition="n1")
    wider = SCHEMAS["step_scores"].append(pa.field("note", pa.string()))
    monkeypatch.setitem(SCHEMAS, "step_scores", wider)
    assert lake.read("step_scores")["note"].to_pylist() == [None]
    assert lake.scan("step_scores").collect()["note"].to_list() == [None]


def test_zero_rows_are_a_commit_without_files(tmp_path):
    lake = Lake(tmp_path)
    lake.write("step_scores", steps(0.5), partition="n1")
    manifest = lake.write("step_scores", steps(), partition="n1")
    assert (manifest.num_rows, manifest.files, scores_in(lake)) == (0, (), [])
    assert lake.partitions("step_scores") == ["n1"]


def test_batches_are_streamed_and_empty_ones_leave_no_trace(tmp_path):
    lake = Lake(tmp_path)
    batches = (table.to_batches()[0] for table in (steps(0.1), steps(0.2)))
    assert lake.write("step_scores", batches, partition="n1").num_rows == 2
    assert scores_in(lake) == [0.1, 0.2]


def test_large_rows_make_small_row_groups_and_full_shards_start_a_new_file(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module, "ROW_GROUP_BYTES", 4_000)
    monkeypatch.setattr("pipelines.lake.SHARD_BYTES", 1)
    lake = Lake(tmp_path)
    rows = [{"rollout_id": f"r{i}", "completion_token_ids": list(range(100))} for i in range(30)]
    manifest = lake.write("rollouts", rows_to_table("rollouts", rows), partition="n1")
    assert len(manifest.files) > 2
    assert sum(file.num_rows for file in manifest.files) == 30
    assert lake.read("rollouts", columns=["rollout_id"])["rollout_id"].to_pylist() == [f"r{i}" for i in range(30)]


def test_row_groups_have_at_most_the_given_number_of_rows(monkeypatch):
    monkeypatch.setattr(rows_module, "ROW_GROUP_ROWS", 4)
    tables = [pa.table({"a": list(range(n))}) for n in (3, 0, 2, 9)]
    groups = list(rows_module.row_groups(tables))
    assert all(0 < group.num_rows <= 4 for group in groups)
    assert pa.concat_tables(groups)["a"].to_pylist() == [0, 1, 2, 0, 1, *range(9)]


# wrong rows -------------------------------------------------------------------------------------


def test_a_missing_column_is_named_and_nothing_is_written(tmp_path):
    lake = Lake(tmp_path)
    lake.write("step_scores", steps(0.5), partition="n1")
    with pytest.raises(LakeError, match=r"'score' \(double\) is missing.*still holds its 1 rows"):
        lake.write("step_scores", steps(0.1).drop_columns(["score"]), partition="n1")
    assert scores_in(lake) == [0.5]
    assert len(generations_on_disk(tmp_path / "step_scores" / "n1")) == 1


def test_a_wrong_type_is_named_with_both_types(tmp_path):
    rows = steps(0.1).set_column(1, "step", pa.array(["first"]))
    with pytest.raises(LakeError, match=r"column 'step' is string, but must be int64.*still does not exist"):
        Lake(tmp_path).write("step_scores", rows)


def test_an_unknown_column_table_or_partition_is_refused_with_near_names(tmp_path):
    lake = Lake(tmp_path)
    with pytest.raises(LakeError, match="no column 'scores'.*did you mean score"):
        lake.write("step_scores", steps(0.1).append_column("scores", pa.array([1.0])))
    with pytest.raises(LakeError, match="column 'score' more than once"):
        lake.write("step_scores", steps(0.1).append_column("score", pa.array([1.0])))
    with pytest.raises(LakeError, match="no table 'rollout'; did you mean rollouts"):
        lake.read("rollout")
    with pytest.raises(LakeError, match="no column 'sed'; did you mean seed"):
        lake.read("rollouts", columns=["sed"])
    with pytest.raises(LakeError, match="cannot name a partition"):
        lake.write("step_scores", steps(0.1), partition="../elsewhere")


def test_columns_without_a_type_and_narrow_types_are_widened(tmp_path):
    rows = pa.table({
        "step": pa.array([3], pa.int32()), "rollout_id": pa.array(["r"]).dictionary_encode(), "source": pa.nulls(1),
        "scorer_version": pa.array(["v"], pa.large_string()), "score": pa.array([1], pa.int64()),
        "num_samples": pa.nulls(1), "disagreement": pa.nulls(1), "member_scores": pa.nulls(1),
        "night": pa.array(["n1"]),
    })  # fmt: skip
    lake = Lake(tmp_path)
    lake.write("step_scores", rows, partition="n1")
    stored = pq.read_schema(lake.files("step_scores")[0])
    assert [stored.field(name).type for name in SCHEMAS["step_scores"].names] == SCHEMAS["step_scores"].types
    assert lake.read("step_scores").to_pylist()[0]["step"] == 3


def test_a_fraction_does_not_become_an_integer(tmp_path):
    rows = steps(0.1).set_column(1, "step", pa.array([1.5]).cast(pa.decimal128(5, 1)))
    with pytest.raises(LakeError, match="not every value can be converted"):
        Lake(tmp_path).write("step_scores", rows)


def test_dicts_become_rows_with_null_for_missing_keys_and_errors_for_the_rest():
    table = rows_to_table("step_scores", [{"step": 1}, {"score": 1}])
    assert table["step"].to_pylist() == [1, None]
    assert table["score"].to_pylist() == [None, 1.0]
    with pytest.raises(LakeError, match="Row 1 .*key 'scor'; did you mean score"):
        rows_to_table("step_scores", [{"step": 1}, {"scor": 0.5}])
    with pytest.raises(LakeError, match="Row 1 .*'step' must be int64, but the value is 'two'"):
        rows_to_table("step_scores", [{"step": 1}, {"step": "two"}])
    assert rows_to_table("rollouts", []).schema == SCHEMAS["rollouts"]


# crashes ----------------------------------------------------------------------------------------


def test_the_generation_before_is_kept_and_older_ones_are_removed(tmp_path):
    lake = Lake(tmp_path)
    ids = [lake.write("step_scores", steps(score), partition="n1").generation for score in (0.1, 0.2, 0.3)]
    assert ids == sorted(set(ids))
    assert generations_on_disk(tmp_path / "step_scores" / "n1") == ids[1:]
    assert scores_in(lake) == [0.3]


def test_rows_that_fail_half_way_leave_the_old_partition_and_no_rubbish(tmp_path):
    def failing():
        yield steps(0.9).to_batches()[0]
        raise ZeroDivisionError

    lake = Lake(tmp_path)
    lake.write("step_scores", steps(0.5), partition="n1")
    with pytest.raises(ZeroDivisionError):
        lake.write("step_scores", failing(), partition="n1")
    assert scores_in(lake) == [0.5]
    assert len(generations_on_disk(tmp_path / "step_scores" / "n1")) == 1


def test_an_uncommitted_generation_is_invisible_and_removed_by_the_next_write(tmp_path):
    lake = Lake(tmp_path)
    lake.write("step_scores", steps(0.5), partition="n1")
    leftover = tmp_path / "step_scores" / "n1" / "00000002-20300101T000000-00000000"
    leftover.mkdir()
    (leftover / "part-00000.parquet").write_bytes(b"PAR1 half")
    assert scores_in(lake) == [0.5]
    assert lake.write("step_scores", steps(0.6), partition="n1").generation.startswith("00000003")
    assert not leftover.exists()
    assert scores_in(lake) == [0.6]


CRASHING_WRITER = """
    import os, signal, sys
    from pipelines.lake import Lake, rows_to_table
    url, stop_at = sys.argv[1], int(sys.argv[2])
    rows = rows_to_table("step_scores", [{"rollout_id": "new", "score": 0.75, "night": "n1"}] * 3)
    lake = Lake(url)
    seen = 0

    def die_at_the_nth_file_event(event, args):
        global seen
        if event.split(".")[0] in ("os", "open", "shutil", "fcntl") and any(url in str(arg) for arg in args):
            seen += 1
            if seen == stop_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die_at_the_nth_file_event)
    lake.write("step_scores", rows, partition="n1")
    print("finished")
"""


def run_writer(script: str, *args: str, limit: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *args], env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_a_writer_killed_before_any_of_its_file_operations_leaves_the_old_or_the_new_partition(tmp_path):
    outcomes = []
    for stop_at in range(1, 200):
        url = str(tmp_path / f"lake{stop_at:03d}")
        lake = Lake(url)
        lake.write("step_scores", steps(0.1), partition="n1")
        lake.write("step_scores", steps(0.5), partition="n1")
        finished = run_writer(CRASHING_WRITER, url, str(stop_at))
        assert finished.returncode in (0, -signal.SIGKILL), finished.stderr
        scores = scores_in(lake)
        assert scores in ([0.5], [0.75] * 3)
        lake.verify("step_scores", "n1")
        lake.write("step_scores", steps(0.6, 0.7), partition="n1")  # the dead writer's lease and rubbish are in no way
        assert scores_in(lake) == [0.6, 0.7]
        assert len(generations_on_disk(Path(url) / "step_scores" / "n1")) == 2
        outcomes.append(scores)
        if finished.returncode == 0:
            break
    assert finished.stdout == "finished\n"
    assert len(outcomes) > 10
    assert outcomes == sorted(outcomes), "the old partition up to one moment, the new one from then on"


SLOW_WRITER = """
    import sys
    from pipelines.lake import Lake, rows_to_table

    def batches():
        for index in range(3):
            rows = [{"rollout_id": f"new {index} {row}", "score": 0.75} for row in range(70_000)]
            yield from rows_to_table("step_scores", rows).to_batches()
            print("batch", flush=True)
            sys.stdin.readline()

    Lake(sys.argv[1]).write("step_scores", batches(), partition="n1")
"""


def test_a_writer_killed_between_row_groups_leaves_the_old_partition_and_its_lease_is_free(tmp_path):
    lake = Lake(tmp_path)
    lake.write("step_scores", steps(0.5), partition="n1")
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW_WRITER), str(tmp_path)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert writer.stdout.readline() == "batch\n"
    writer.stdin.write("\n")
    writer.stdin.flush()
    assert writer.stdout.readline() == "batch\n"
    with pytest.raises(PartitionBusyError, match=f"process {writer.pid} on .* since 20"):
        lake.write("step_scores", steps(0.6), partition="n1")
    writer.kill()
    writer.communicate()
    assert scores_in(lake) == [0.5]
    lake.write("step_scores", steps(0.6), partition="n1")
    assert scores_in(lake) == [0.6]


LIMITED_WRITER = """
    import random, resource, sys
    from pipelines.lake import Lake, rows_to_table
    from pipelines.errors import LakeError
    random.seed(0)
    rows = [{"rollout_id": f"new {row} {random.random()}", "score": random.random()} for row in range(50_000)]
    table = rows_to_table("step_scores", rows)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        Lake(sys.argv[1]).write("step_scores", table, partition="n1")
    except LakeError as error:
        print(error)
"""


def test_a_file_that_cannot_grow_gives_an_error_with_path_bytes_and_what_remains(tmp_path):
    lake = Lake(tmp_path)
    lake.write("step_scores", steps(0.5), partition="n1")
    message = run_writer(LIMITED_WRITER, str(tmp_path)).stdout
    assert "part-00000.parquet could not be written: File too large after" in message
    assert "bytes of this file" in message
    assert "bytes are free there. Nothing was lost: step_scores/n1 still holds its 1 rows" in message
    assert scores_in(lake) == [0.5]
    assert len(generations_on_disk(tmp_path / "step_scores" / "n1")) == 1


@pytest.mark.parametrize("name", ["part-00000.parquet", "manifest.json.part"])
def test_a_full_disk_is_told_and_the_old_partition_stays(tmp_path, monkeypatch, name):
    lake = Lake(tmp_path)
    lake.write("step_scores", steps(0.5), partition="n1")
    real_fsync = os.fsync

    def full(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(name):
            raise OSError(errno.ENOSPC, "No space left on device")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LakeError, match="No space left on device after .* Nothing was lost"):
        lake.write("step_scores", steps(0.6), partition="n1")
    assert scores_in(lake) == [0.5]
    assert len(generations_on_disk(tmp_path / "step_scores" / "n1")) == 1


def test_a_lake_below_a_file_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(LakeError, match="lease .* cannot be taken"):
        Lake(tmp_path / "file" / "lake").write("step_scores", steps(0.1))


def test_a_damaged_manifest_is_an_error_and_not_an_empty_table(tmp_path):
    lake = Lake(tmp_path)
    generation = lake.write("step_scores", steps(0.5), partition="n1").generation
    path = tmp_path / "step_scores" / "n1" / generation / "manifest.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(LakeError, match=r"manifest .* is damaged"):
        lake.read("step_scores")


# object stores and single files -----------------------------------------------------------------


def test_an_object_store_behaves_like_a_folder():
    lake = Lake("memory://tables")
    lake.write("step_scores", steps(0.1), partition="n1")
    lake.write("step_scores", steps(0.2), partition="n1")
    lake.write("step_scores", steps(0.3, 0.4), partition="n1")
    assert scores_in(lake) == [0.3, 0.4]
    assert len(lake.filesystem.ls(f"{lake.root}/step_scores/n1", detail=False)) == 2
    assert lake.files("step_scores")[0].startswith("memory://")
    assert lake.scan("step_scores").collect()["score"].to_list() == [0.3, 0.4]
    lake.verify("step_scores", "n1")


def test_a_single_file_appears_whole_and_a_typeless_column_becomes_string(tmp_path):
    path = tmp_path / "out" / "rows.parquet"
    entry = write_parquet(path, pa.table({"a": [1, 2], "b": pa.nulls(2)}))
    assert (entry.path, entry.num_rows) == ("rows.parquet", 2)
    assert pq.read_table(path).schema.field("b").type == pa.string()
    assert [file.name for file in path.parent.iterdir()] == ["rows.parquet"]


def test_shards_are_numbered_complete_and_never_empty(tmp_path):
    table = pa.table({"a": list(range(5))})
    entries = write_shards(tmp_path, "train", table, max_rows=2)
    assert [entry.path for entry in entries] == [f"train-0000{i}-of-00003.parquet" for i in range(3)]
    assert [entry.num_rows for entry in entries] == [2, 2, 1]
    assert pa.concat_tables(pq.read_table(tmp_path / entry.path) for entry in entries) == table
    assert entries[0].sha256 == hashlib.sha256((tmp_path / entries[0].path).read_bytes()).hexdigest()
    assert write_shards(tmp_path, "empty", table.slice(0, 0), max_rows=2) == []


# rows that come piece by piece ------------------------------------------------------------------


def test_rows_added_piece_by_piece_are_invisible_until_they_are_committed(tmp_path):
    lake = Lake(tmp_path)
    lake.write("step_scores", steps(0.5), partition="n1")
    with lake.writer("step_scores", partition="n1") as writer:
        writer.add(steps(0.1))
        writer.add(steps(0.2, 0.3))
        assert (writer.num_rows, scores_in(lake)) == (3, [0.5])
        manifest = writer.commit({"rollouts": "00000001"})
        assert scores_in(lake) == [0.1, 0.2, 0.3]
    assert (manifest.num_rows, manifest.lineage) == (3, {"rollouts": "00000001"})
    assert scores_in(lake) == [0.1, 0.2, 0.3]
    lake.verify("step_scores", "n1")


def test_small_row_groups_reach_the_disk_while_rows_are_still_added(tmp_path):
    lake = Lake(tmp_path)
    with lake.writer("step_scores", partition="n1", row_group_bytes=10_000) as writer:
        sizes = []
        for number in range(3):
            writer.add(steps(*(index / 5000 for index in range(number, 5000))))
            (file,) = tmp_path.rglob("*.parquet")
            sizes.append(file.stat().st_size)
        writer.commit()
    assert sizes[0] < sizes[1] < sizes[2]
    assert pq.ParquetFile(lake.files("step_scores", "n1")[0]).num_row_groups >= 3


@pytest.mark.parametrize("failure", [None, ValueError("the search failed")])
def test_a_writer_that_ends_without_a_commit_leaves_the_old_rows_and_no_files(tmp_path, failure):
    lake = Lake(tmp_path)
    lake.write("step_scores", steps(0.5), partition="n1")
    before = sorted(tmp_path.rglob("*.parquet"))
    try:
        with lake.writer("step_scores", partition="n1", row_group_bytes=1) as writer:
            writer.add(steps(0.1))
            if failure:
                raise failure
    except ValueError as error:
        assert error is failure
    assert (scores_in(lake), sorted(tmp_path.rglob("*.parquet"))) == ([0.5], before)


def test_a_wrong_row_in_the_middle_of_a_stream_is_named_with_what_remains(tmp_path):
    lake = Lake(tmp_path)
    lake.write("step_scores", steps(0.5), partition="n1")
    with (
        pytest.raises(LakeError, match=r"'score' \(double\) is missing.*still holds its 1 rows"),
        lake.writer("step_scores", partition="n1") as writer,
    ):
        writer.add(steps(0.1))
        writer.add(steps(0.2).drop_columns(["score"]))
    assert scores_in(lake) == [0.5]


def test_a_partition_that_is_being_streamed_is_busy(tmp_path):
    lake = Lake(tmp_path)
    with (
        lake.writer("step_scores", partition="n1"),
        pytest.raises(PartitionBusyError),
        lake.writer("step_scores", partition="n1"),
    ):
        pass
    lake.write("step_scores", steps(0.5), partition="n2")


def test_lists_of_numbers_and_columns_that_hardly_repeat_have_no_dictionary_and_all_else_has(tmp_path):
    scores = pa.array([[0.1, 0.2], [0.3], [], None], pa.list_(pa.float64()))
    columns = {"id": ["a", "b", "c", "a"], "group": ["g", "g", "g", "h"], "reward": [0.0, 1.0, 1.0, 1.0]}
    table = pa.table(columns | {"scores": scores, "steps": [["x"], ["y"], [], ["z"]]})
    write_parquet(tmp_path / "rows.parquet", table)
    assert pq.read_table(tmp_path / "rows.parquet").equals(table)
    group = pq.ParquetFile(tmp_path / "rows.parquet").metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    has_dictionary = {one.path_in_schema.split(".")[0]: "RLE_DICTIONARY" in one.encodings for one in columns}
    assert has_dictionary == {"id": False, "group": True, "reward": True, "scores": False, "steps": True}
