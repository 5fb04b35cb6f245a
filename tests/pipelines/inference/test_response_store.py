import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.inference import response_store
from pipelines.inference.errors import ResponseStoreError
from pipelines.inference.response_codec import as_float32, decode_response, encode_completion, encode_response
from pipelines.inference.response_store import RequestFailure, ResponseStore, StoreCounts
from pipelines.inference.types import Completion, Sample, TokenScores


def request_id(name: str) -> str:
    """32 hex digits, as of a request."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


R1, R2, R3 = request_id("r1"), request_id("r2"), request_id("r3")


def make_completion(request_id: str = R1, text: str = "12+7=19\n", from_store: bool = False) -> Completion:
    return Completion(request_id, (Sample((5, 6, 0), text, (-0.5, -1.25, -2.0), "stop"),), 9, 4, from_store)


samples = st.builds(
    lambda pairs, text, reason: Sample(tuple(p[0] for p in pairs), text, as_float32(p[1] for p in pairs), reason),
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(-1e4, 0.0, width=32)), max_size=20),
    st.text(max_size=40),
    st.sampled_from(["stop", "length"]),
)


@given(st.lists(samples, max_size=5), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_decoded_completion_equals_the_encoded_one(parts, num_prompt_tokens, num_cached_tokens):
    completion = Completion("r", tuple(parts), num_prompt_tokens, num_cached_tokens, from_store=True)

    assert decode_response("r", encode_completion(completion)) == completion


floats = st.floats(-1e4, 0.0, width=32)


@given(st.lists(floats, max_size=20), st.booleans())
def test_decoded_scores_equal_the_encoded_ones(logprobs, is_full):
    column = (None, *as_float32(logprobs))
    doubled = (None, *as_float32(2 * value for value in logprobs))
    scores = TokenScores("r", column, column if is_full else None, doubled if is_full else None, from_store=True)

    assert decode_response("r", encode_response(scores)) == scores


def test_damaged_scores_are_an_explained_error():
    scores = TokenScores("r", (None, -0.5), None, None, from_store=False)
    payload = zlib.compress(zlib.decompress(encode_response(scores))[:-1])

    for damaged in (payload, zlib.compress(b"")):
        with pytest.raises(ResponseStoreError, match="r2 cannot be decoded"):
            decode_response("r2", damaged)


def test_scores_and_completions_share_a_store(tmp_path: Path):
    scores = TokenScores(request_id("s1"), (None, -0.5, -0.25), (None, 1.0, 0.5), (None, 2.0, 3.0), from_store=False)
    with ResponseStore(tmp_path / "store.sqlite") as store:
        store.put(scores)
        store.put(make_completion(R1))
        assert store.get(request_id("s1")) == replace(scores, from_store=True)
        store.flush()

    with ResponseStore(tmp_path / "store.sqlite") as store:
        assert store.get(request_id("s1")) == replace(scores, from_store=True)
        assert store.get(R1) == make_completion(R1, from_store=True)


@pytest.mark.parametrize("num_tokens", [0, 1000], ids=["short, as it is", "long, deflated"])
def test_short_and_long_completions_and_deflated_short_ones_are_read(num_tokens):
    sample = Sample((7,) * num_tokens, "x" * num_tokens, (-0.5,) * num_tokens, "length")
    completion = Completion(R1, (sample,), 9, 4, from_store=True)
    payload = encode_completion(completion)

    assert len(payload) < 8 * num_tokens + 30
    assert decode_response(R1, payload) == completion
    if not num_tokens:
        assert decode_response(R1, zlib.compress(payload)) == completion  # as earlier versions wrote it


def test_a_damaged_payload_is_an_explained_error():
    payload = encode_completion(make_completion())

    with pytest.raises(ResponseStoreError, match=f"{R1} cannot be decoded"):
        decode_response(R1, payload[:-9])


def test_what_was_put_is_found_at_once_and_after_reopening(tmp_path: Path):
    with ResponseStore(tmp_path / "store") as store:
        store.put(make_completion(R1))
        assert store.get(R1) == make_completion(R1, from_store=True)
        assert store.get(R2) is None

    with ResponseStore(tmp_path / "store") as store:
        assert store.get(R1) == make_completion(R1, from_store=True)
        assert store.counts() == StoreCounts(1, {})


def test_a_damaged_shard_is_an_explained_error_for_every_reader(tmp_path: Path):
    ids = [request_id(f"x{i}") for i in range(200)]
    with ResponseStore(tmp_path / "store") as store:
        for one in ids:
            store.put(make_completion(one))
    for shard in (tmp_path / "store").glob("*.sqlite*"):
        content = bytearray(shard.read_bytes())
        content[4096:] = b"\xff" * len(content[4096:])
        shard.write_bytes(content)

    with ResponseStore(tmp_path / "store") as store:
        for read in (store.counts, lambda: store.missing(ids), lambda: store.get(ids[0])):
            with pytest.raises(ResponseStoreError, match="cannot be read"):
                read()


def test_the_first_response_of_a_request_stays(tmp_path: Path):
    with ResponseStore(tmp_path / "store") as store:
        store.put(make_completion(R1, "first"))
        store.flush()
        store.put(make_completion(R1, "second"))
        store.flush()

        assert store.get(R1).samples[0].text == "first"


class WriterClock:
    """Stands in for the module `time` of the store: how long its writer waited, while it does not wait at all."""

    time = staticmethod(time.time)

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def test_a_put_is_committed_without_a_flush_after_one_gathering_of_20_milliseconds(tmp_path: Path, monkeypatch):
    clock = WriterClock()
    monkeypatch.setattr(response_store, "time", clock)
    path = tmp_path / "store"
    with ResponseStore(path) as store, ResponseStore(path) as other:
        for number in range(1, 4):
            name = request_id(f"x{number}")
            store.put(make_completion(name))
            for _ in range(10_000):
                if other.get(name) is not None:
                    break
                time.sleep(0.001)
            assert other.get(name) == make_completion(name, from_store=True)
            assert clock.slept == [0.02] * number


WRITER = """
import hashlib
import sys
from pipelines.inference.response_store import RequestFailure, ResponseStore, StoreCounts
from pipelines.inference.types import Completion, Sample
store = ResponseStore(sys.argv[1])
for i in range(int(sys.argv[3])):
    sample = Sample((i,) * 50, "x" * 50, (-0.5,) * 50, "stop")
    request_id = hashlib.sha256(f"{sys.argv[2]}-{i}".encode()).hexdigest()[:32]
    store.put(Completion(request_id, (sample,), 1, 0, False))
    if i % 100 == 0:
        store.flush()
        print(i, flush=True)
store.close()
"""


def shards(path: Path) -> list[Path]:
    return sorted(path.glob("*.sqlite"))


def start_writer(path: Path, name: str, num_puts: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(num_puts)], stdout=subprocess.PIPE, text=True
    )


def test_kill_9_loses_nothing_that_was_flushed_and_leaves_a_sound_file(tmp_path: Path):
    path = tmp_path / "store"
    writer = start_writer(path, "w", 10**6)
    flushed = [int(writer.stdout.readline()) for _ in range(8)][-1]
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()

    with ResponseStore(path) as store:
        assert all(store.get(request_id(f"w-{i}")) is not None for i in range(flushed + 1))
    checks = [sqlite3.connect(file).execute("pragma integrity_check").fetchone() for file in shards(path)]
    assert checks == [("ok",)] * 16


def test_several_processes_write_to_one_store(tmp_path: Path):
    path = tmp_path / "store"
    writers = [start_writer(path, name, 400) for name in ("a", "b", "c")]
    for writer in writers:
        writer.communicate()

    with ResponseStore(path) as store:
        assert [writer.returncode for writer in writers] == [0, 0, 0]
        assert store.counts().num_answered == 1200


def test_merging_adds_what_is_missing_and_keeps_what_is_there(tmp_path: Path):
    with ResponseStore(tmp_path / "other") as other:
        other.put(make_completion(R1, "theirs"))
        other.put(make_completion(R2, "theirs"))
        other.put(make_completion(R3, "theirs"))
        other.put_failure(request_id("r4"), TimeoutError("theirs"))

    with ResponseStore(tmp_path / "store") as store:
        store.put(make_completion(R1, "ours"))
        store.put_failure(R3, TimeoutError("ours"))

        assert [store.merge(tmp_path / "other") for _ in range(2)] == [2, 0]
        assert [store.get(one).samples[0].text for one in (R1, R2, R3)] == ["ours", "theirs", "theirs"]
        assert store.counts() == StoreCounts(3, {"TimeoutError": 1})


def test_merging_a_store_that_is_not_there_says_so(tmp_path: Path):
    with (
        ResponseStore(tmp_path / "store") as store,
        pytest.raises(ResponseStoreError, match="nowhere is not there"),
    ):
        store.merge(tmp_path / "nowhere")


def test_a_failure_is_a_row_with_its_attempts_and_never_an_answer(tmp_path: Path):
    with ResponseStore(tmp_path / "store") as store:
        for _ in range(2):
            store.put_failure(R1, TimeoutError("no answer within 2 s"))
            store.flush()

        assert store.get(R1) is None
        assert store.failure(R1) == RequestFailure(R1, "TimeoutError", "no answer within 2 s", num_attempts=2)
        assert store.missing([R1]) == [R1]
        assert store.counts() == StoreCounts(0, {"TimeoutError": 1})


@pytest.mark.parametrize("flush", [True, False], ids=["committed before", "in one commit"])
def test_a_later_answer_replaces_a_failure_and_no_failure_replaces_an_answer(tmp_path: Path, flush: bool):
    with ResponseStore(tmp_path / "store") as store:
        store.put_failure(R1, TimeoutError("slow"))
        if flush:
            store.flush()
        store.put(make_completion(R1, "at last"))
        store.flush()
        store.put_failure(R1, TimeoutError("slow"))
        store.flush()

        assert store.get(R1).samples[0].text == "at last"
        assert store.failure(R1) is None
        assert store.counts() == StoreCounts(1, {})


def test_what_is_left_to_ask_is_named_once_and_in_order(tmp_path: Path):
    names = [request_id(f"n{i}") for i in range(100)]
    with ResponseStore(tmp_path / "store") as store:
        for name in names[:50]:
            store.put(make_completion(name))
        store.flush()
        store.put(make_completion(names[50]))  # perhaps not yet committed

        assert store.missing([*names, *names]) == sorted(names[51:])


def test_requests_are_spread_over_sixteen_files_by_their_first_digit(tmp_path: Path):
    with ResponseStore(tmp_path / "store") as store:
        for digit in "0123456789abcdef":
            store.put(make_completion(digit + R1[1:]))

    rows = {file.stem: sqlite3.connect(file).execute("select request_id from requests").fetchall() for file in
            shards(tmp_path / "store")}  # fmt: skip
    assert rows == {digit: [(digit + R1[1:],)] for digit in "0123456789abcdef"}


def make_single_file(path: Path, *names: str) -> None:
    """The store of earlier versions: one file, one table."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table responses (request_id text primary key, payload blob, created_at real)")
        rows = [(name, encode_completion(make_completion(name, f"old {name}")), 0.0) for name in names]
        connection.executemany("insert into responses values (?, ?, ?)", rows)


@pytest.mark.parametrize("name", ["store", "store.sqlite"], ids=["under its own name", "under the old name"])
def test_the_single_file_of_earlier_versions_is_taken_over_and_kept(tmp_path: Path, name: str):
    make_single_file(tmp_path / name, R1, R2)

    with ResponseStore(tmp_path / "store") as store:
        assert store.get(R1).samples[0].text == f"old {R1}"
        assert store.counts() == StoreCounts(2, {})
    with ResponseStore(tmp_path / "store") as store:
        assert store.counts() == StoreCounts(2, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "store.lock", f"{name}.merged"]


def test_a_take_over_that_was_killed_is_finished(tmp_path: Path):
    make_single_file(tmp_path / "store", R1)
    (tmp_path / "store").rename(tmp_path / "store.merged")  # killed between the two renamings
    with ResponseStore(tmp_path / "store.building") as half:
        half.put(make_completion(R1, "copied"))

    with ResponseStore(tmp_path / "store") as store:
        assert store.get(R1).samples[0].text == "copied"


def test_a_single_file_can_be_merged(tmp_path: Path):
    make_single_file(tmp_path / "old.sqlite", R1, R2)
    with ResponseStore(tmp_path / "store") as store:
        store.put(make_completion(R1, "ours"))

        assert store.merge(tmp_path / "old.sqlite") == 1
        assert [store.get(one).samples[0].text for one in (R1, R2)] == ["ours", f"old {R2}"]


@pytest.mark.parametrize("place", ["store", "store/7.sqlite"])
def test_a_file_that_is_no_store_is_an_explained_error(tmp_path: Path, place: str):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("this is not a database, but long enough to be read as one" * 20)

    with pytest.raises(ResponseStoreError, match="cannot be opened: file is not a database"):
        ResponseStore(tmp_path / "store")


def test_a_commit_that_fails_is_raised_at_the_next_put_and_not_swallowed(tmp_path: Path):
    path = tmp_path / "store"
    store = ResponseStore(path)
    store.put(make_completion(request_id("r0")))
    store.flush()  # the writer is connected now; it would make the tables again otherwise
    for file in shards(path):
        with sqlite3.connect(file) as connection:
            connection.execute("drop table requests")
    store.put(make_completion(R1))

    with pytest.raises(ResponseStoreError, match="cannot be written: no such table"):
        store.flush()
    with pytest.raises(ResponseStoreError, match="cannot be written"):
        store.put(make_completion(R2))
    with pytest.raises(ResponseStoreError, match="cannot be written"):
        store.close()


def test_a_closed_store_leaves_no_writer_thread(tmp_path: Path):
    ResponseStore(tmp_path / "store").close()

    assert not [thread for thread in threading.enumerate() if thread.name == "response-store"]


def test_whatever_ends_the_writer_is_raised_and_not_swallowed(tmp_path: Path, monkeypatch):
    def fail(completion):
        raise MemoryError("no room")

    store = ResponseStore(tmp_path / "store")
    monkeypatch.setattr("pipelines.inference.response_store.encode_response", fail)
    store.put(make_completion(R1))
    with pytest.raises(ResponseStoreError, match="cannot be written: no room"):
        store.flush()
    with pytest.raises(ResponseStoreError, match="no room"):
        store.close()
