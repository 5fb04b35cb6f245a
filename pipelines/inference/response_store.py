"""Requests that ended, kept at once and for ever: an anti-join away from resuming.

A folder of SQLite files (response_shards.py), content-addressed by `request_id` (a hash of model, tokens and what is
asked of them), so that an answer is never changed: the first one wins and everyone who asks again gets it. A request
that failed is a row too, with its error and the number of attempts; it is never an answer, and a later answer
replaces it.

Invariants
- `put` returns at once; one writer thread commits everything that has gathered, at the latest `max_delay_s` after
  the first of it. `get` sees what was put in this process immediately, and what other processes committed.
- kill -9 loses at most the puts of the last `max_delay_s` and never damages a file (WAL; a transaction is whole or
  absent). A power cut may lose the last commits (synchronous = NORMAL) and does not damage a file either.
- Several processes of one machine may use the folder at once. WAL needs a local disk: machines with separate disks
  write separate stores and `merge` them.
- When a commit fails (disk full) the next `put` and `flush` raise ResponseStoreError; nothing is dropped silently.
"""

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pipelines.inference import response_shards
from pipelines.inference.errors import ResponseStoreError
from pipelines.inference.response_codec import decode_response, encode_response
from pipelines.inference.response_shards import shard_of
from pipelines.inference.types import Response

MAX_MESSAGE_CHARS = 500
_SELECT_ANSWER = "select payload from requests where request_id = ? and status = 'answered'"
_SELECT_IS_KNOWN = "select 1 from requests where request_id = ?"  # reads the index alone
_SELECT_FAILED = "select request_id from requests where status = 'failed'"
_SELECT_FAILURE = """
select error_class, error_message, num_attempts from requests where request_id = ? and status = 'failed'
"""
_SELECT_RECORD = "select status, num_attempts, ended_at, error_class from requests where request_id = ?"
_COUNT_ALL = "select count(*) from requests"
_COUNT_FAILED = "select error_class, count(*) from requests where status = 'failed' group by error_class"


@dataclass(frozen=True)
class RequestFailure:
    """A request that has no answer yet."""

    request_id: str
    error_class: str  # of the last attempt
    message: str
    num_attempts: int = 1


@dataclass(frozen=True)
class RequestRecord:
    """When and how a request ended, as committed."""

    request_id: str
    status: str  # answered | failed
    num_attempts: int  # times the engine was asked
    ended_at: float  # of the last attempt, seconds since the epoch
    error_class: str | None  # of the last attempt; None where answered


@dataclass(frozen=True)
class StoreCounts:
    """What a store holds, as committed by all processes."""

    num_answered: int
    num_failed: dict[str, int]  # by the class of the last error


class ResponseStore:
    """The store in the folder `path`, made when absent. Use as context manager or call close().

    A store of earlier versions, a single file, is taken over (`response_shards.take_over_single_file`).
    """

    def __init__(self, path: str | Path, *, max_delay_s: float = 0.02) -> None:
        self.path = Path(path)
        self._max_delay_s = max_delay_s
        self._answers: dict[str, Response] = {}  # put, not yet committed
        self._failures: list[RequestFailure] = []  # likewise
        self._error: Exception | None = None  # what ended the writer
        self._closed = False
        self._wake = threading.Condition()
        self._reading = threading.Lock()
        response_shards.take_over_single_file(self.path)
        self._readers = response_shards.open_shards(self.path)
        self._writer_thread = threading.Thread(target=self._write_loop, name="response-store", daemon=True)
        self._writer_thread.start()

    def get(self, request_id: str) -> Response | None:
        """The stored response, marked `from_store`; None when there is no answer."""
        with self._wake:
            pending = self._answers.get(request_id)
        if pending is not None:
            return decode_response(request_id, encode_response(pending))
        row = self._read_one(request_id, _SELECT_ANSWER)
        return None if row is None else decode_response(request_id, row[0])

    def failure(self, request_id: str) -> RequestFailure | None:
        """How a request has failed so far, as committed; None when it was answered or never asked."""
        row = self._read_one(request_id, _SELECT_FAILURE)
        return None if row is None else RequestFailure(request_id, *row)

    def record(self, request_id: str) -> RequestRecord | None:
        """When and how a request ended, as committed; None when it was never asked."""
        row = self._read_one(request_id, _SELECT_RECORD)
        return None if row is None else RequestRecord(request_id, *row)

    def missing(self, request_ids: Iterable[str]) -> list[str]:
        """Those of the requests that have no answer, each once, sorted: what is left to ask."""
        with self._wake:
            wanted = sorted(set(request_ids) - self._answers.keys())
        left: list[str] = []
        with self._reading_shards():
            for shard, of_shard in groupby(wanted, shard_of):
                ask = self._readers[shard].execute
                failed = {row[0] for row in ask(_SELECT_FAILED)}
                left += [one for one in of_shard if one in failed or ask(_SELECT_IS_KNOWN, (one,)).fetchone() is None]
        return left

    def put(self, response: Response) -> None:
        """Keep a response under its request_id; the first one kept stays. Returns before it is on disk."""
        with self._wake:
            self._raise_error()
            self._answers.setdefault(response.request_id, response)
            self._wake.notify_all()

    def put_failure(self, request_id: str, error: Exception) -> None:
        """Note one more attempt that failed; nothing changes where there is an answer."""
        with self._wake:
            self._raise_error()
            self._failures.append(RequestFailure(request_id, type(error).__name__, str(error)[:MAX_MESSAGE_CHARS]))
            self._wake.notify_all()

    def flush(self) -> None:
        """Return when everything put so far is committed."""
        with self._wake:
            while (self._answers or self._failures) and self._error is None:
                self._wake.wait(0.1)
            self._raise_error()

    def counts(self) -> StoreCounts:
        """Rows by status."""
        failed: dict[str, int] = {}
        with self._reading_shards():
            num_all = sum(reader.execute(_COUNT_ALL).fetchone()[0] for reader in self._readers)
            for reader in self._readers:
                for error_class, count in reader.execute(_COUNT_FAILED):
                    failed[error_class] = failed.get(error_class, 0) + count
        return StoreCounts(num_all - sum(failed.values()), failed)

    def merge(self, other_path: str | Path) -> int:
        """Copy what another store has and this one has not; returns how many answers. The other is only read."""
        other_path = Path(other_path)
        if not response_shards.is_store(other_path):
            raise ResponseStoreError(f"The response store {other_path} is not there; nothing was merged.")
        self.flush()
        try:
            with response_shards.closing_shards(response_shards.open_shards(self.path)) as connections:
                return response_shards.copy_store(connections, other_path)
        except sqlite3.Error as error:
            raise ResponseStoreError(
                f"The response store {other_path} cannot be merged into {self.path}: {error}. What was copied before "
                "that stays; merging again goes on from there."
            ) from error

    def close(self) -> None:
        """Commit what is pending and let go of the files. Raises ResponseStoreError if that is impossible."""
        with self._wake:
            if self._closed:
                return
            self._closed = True
            self._wake.notify_all()
        self._writer_thread.join()
        with self._reading:
            response_shards.close_shards(self._readers)
        self._raise_error()

    def __enter__(self) -> "ResponseStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_one(self, request_id: str, query: str) -> tuple | None:
        with self._reading_shards():
            return self._readers[shard_of(request_id)].execute(query, (request_id,)).fetchone()

    @contextmanager
    def _reading_shards(self) -> Iterator[None]:
        """One reader at a time; a damaged file is a ResponseStoreError."""
        try:
            with self._reading:
                yield
        except sqlite3.Error as error:
            raise response_shards.explained(self.path, "read", error) from error

    def _write_loop(self) -> None:
        """Gather, commit, repeat; ends after close() with nothing pending, or at the first error."""
        writers: list[sqlite3.Connection] = []
        try:
            writers = response_shards.open_shards(self.path)
            while self._gathered():
                self._commit(writers)
        except Exception as error:  # noqa: BLE001 - capture point of the thread: what ends it must reach the next put
            with self._wake:
                self._error = error
                self._wake.notify_all()
        finally:
            response_shards.close_shards(writers)

    def _gathered(self) -> bool:
        """Wait for a first put, then let more gather for `max_delay_s`; False when closed and done."""
        with self._wake:
            while not (self._answers or self._failures or self._closed):
                self._wake.wait()
            if self._closed:
                return bool(self._answers or self._failures)
        time.sleep(self._max_delay_s)
        return True

    def _commit(self, writers: Sequence[sqlite3.Connection]) -> None:
        """Commit what has gathered, one transaction per file."""
        with self._wake:
            failures, answers = list(self._failures), list(self._answers.values())
        now = time.time()
        batches: dict[int, tuple[list[tuple], list[tuple]]] = {}  # shard -> rows of failures, rows of answers
        for failure in failures:
            row = (failure.request_id, failure.error_class, failure.message, now)
            batches.setdefault(shard_of(failure.request_id), ([], []))[0].append(row)
        for answer in answers:
            row = (answer.request_id, encode_response(answer), now)
            batches.setdefault(shard_of(answer.request_id), ([], []))[1].append(row)
        for shard, (failed_rows, answered_rows) in batches.items():
            response_shards.write(writers[shard], failed_rows, answered_rows)
        with self._wake:
            del self._failures[: len(failures)]
            for answer in answers:
                del self._answers[answer.request_id]
            self._wake.notify_all()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise response_shards.explained(self.path, "written", self._error) from self._error
