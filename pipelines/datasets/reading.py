"""Batches of a set in an order that can be taken up again: after a restart, shuffled, shared among ranks.

The order of epoch e. Blocks are the row groups of the set's files, in the manifest's order. With a seed, blocks are
shuffled, and rows are shuffled within windows of WINDOW_BLOCKS consecutive blocks; without one, nothing is. Every
shuffle is seeded by a hash of (seed, epoch, window), so that the order depends on these and on the content alone.
Row g of that order belongs to rank g mod world_size: ranks have disjoint rows, together all, and their numbers differ
by at most one (by none with `is_even`, which leaves out the last num_rows mod world_size rows).

A position is how many rows this rank was handed, so a batch size may change between two runs. Taking up a position
reads Parquet footers and the window in which it lies, nothing before. A set smaller than a window (about 260,000 rows)
is shuffled wholly. Only pyarrow, fsspec and the standard library are imported.
"""

import random
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from pipelines.errors import WorkspaceError
from pipelines.redaction import redacted
from pipelines.rows import near_names

WINDOW_BLOCKS = 4
STATE_KEYS = ("format", "content_sha256", "set", "seed", "rank", "world_size", "is_even", "epoch", "num_rows")

State = dict[str, str | int | bool | None]


@dataclass(frozen=True)
class Order:
    """Which rows come when: `seed` None keeps the published order; `num_epochs` None never ends."""

    seed: int | None = None
    num_epochs: int | None = 1
    rank: int = 0
    world_size: int = 1
    is_even: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise WorkspaceError(f"rank is {self.rank}, but must be at least 0 and below world_size {self.world_size}.")
        if self.num_epochs is not None and self.num_epochs < 1:
            raise WorkspaceError(f"num_epochs is {self.num_epochs}, but must be at least 1, or None for no end.")


@dataclass(frozen=True)
class Block:
    """One row group of one file."""

    path: str
    row_group: int
    num_rows: int


class Batches(Iterator[pa.Table]):
    """The batches of a set from a position on; `state()` is the position after the last batch handed out."""

    def __init__(
        self,
        filesystem: pyarrow.fs.FileSystem,
        paths: Sequence[str],
        content_sha256: str,
        set_name: str,
        order: Order,
        batch_size: int,
        columns: Sequence[str] | None = None,
        state: Mapping[str, object] | None = None,
    ):
        """`paths`: the set's files; `state`: what `state()` gave, WorkspaceError where that was of another order."""
        if not isinstance(batch_size, int) or batch_size < 1:
            raise WorkspaceError(f"batch_size is {batch_size!r}, but must be a whole number from 1 on.")
        self._filesystem, self._order, self._batch_size = filesystem, order, batch_size
        self._key = {
            "format": 1, "content_sha256": content_sha256, "set": set_name, "seed": order.seed,
            "rank": order.rank, "world_size": order.world_size, "is_even": order.is_even,
        }  # fmt: skip
        self._blocks = _blocks(filesystem, paths)
        self._columns = _known_columns(filesystem, paths, columns)
        self._epoch, self._num_rows = self._start(state)
        self._coming = self._batches()

    @property
    def num_rows(self) -> int:
        """Rows of one epoch that belong to this rank."""
        return _share(sum(block.num_rows for block in self._blocks), self._order)

    def state(self) -> State:
        """The position, to be kept as JSON beside a checkpoint."""
        return {**self._key, "epoch": self._epoch, "num_rows": self._num_rows}

    def __next__(self) -> pa.Table:
        batch, self._epoch, self._num_rows = next(self._coming)
        return batch

    def _start(self, state: Mapping[str, object] | None) -> tuple[int, int]:
        if state is None:
            return 0, 0
        if not isinstance(state, Mapping):
            raise WorkspaceError(
                f"The reading position is a {type(state).__name__}; give what `state()` returned, after json.loads"
                " where it was kept as text."
            )
        missing = [key for key in STATE_KEYS if key not in state]
        if missing:
            raise WorkspaceError(f"The reading position lacks {', '.join(missing)}; give what `state()` returned.")
        for key, value in self._key.items():
            if state[key] != value:
                raise WorkspaceError(
                    f"The reading position is of {key} {state[key]!r}, but {value!r} is opened. Open what it was saved"
                    " from, or start without it."
                )
        epoch, num_rows = state["epoch"], state["num_rows"]
        if (
            not isinstance(epoch, int)
            or not isinstance(num_rows, int)
            or epoch < 0
            or not 0 <= num_rows <= self.num_rows
        ):
            raise WorkspaceError(
                f"The reading position is row {num_rows!r} of epoch {epoch!r}, but an epoch has {self.num_rows:,} rows"
                " for this rank."
            )
        return epoch, num_rows

    def _batches(self) -> Iterator[tuple[pa.Table, int, int]]:
        """(batch, epoch, rows of the epoch handed out with it); a batch never reaches into the next epoch."""
        epoch, done = self._epoch, self._num_rows
        while (self._order.num_epochs is None or epoch < self._order.num_epochs) and self.num_rows:
            rest: pa.Table | None = None
            for rows in self._rows_of_epoch(epoch, done):
                rest = rows if rest is None else pa.concat_tables([rest, rows])
                while rest.num_rows >= self._batch_size:
                    done += self._batch_size
                    yield rest.slice(0, self._batch_size), epoch, done
                    rest = rest.slice(self._batch_size)
            if rest is not None and rest.num_rows:
                yield rest, epoch, done + rest.num_rows
            epoch, done = epoch + 1, 0

    def _rows_of_epoch(self, epoch: int, done: int) -> Iterator[pa.Table]:
        """This rank's rows from its row `done` on, window by window."""
        windows = _windows(self._blocks, self._order.seed, epoch)
        ends = list(accumulate(sum(block.num_rows for block in window) for window in windows))
        step, end = self._order.world_size, ends[-1]
        if self._order.is_even:
            end -= end % step
        place = self._order.rank + done * step  # in the order of all ranks
        while place < end:
            window = bisect_right(ends, place)
            start = ends[window - 1] if window else 0
            table = self._read(windows[window])
            indices = _shuffled(table.num_rows, self._order.seed, epoch, window)
            own = indices[place - start : end - start : step]
            yield (
                table.slice(own.start, len(own)) if isinstance(own, range) and step == 1 else table.take(pa.array(own))
            )
            place += len(own) * step

    def _read(self, window: Sequence[Block]) -> pa.Table:
        tables = []
        for block in window:
            with _opened(self._filesystem, block.path) as file:
                try:
                    tables.append(file.read_row_group(block.row_group, columns=self._columns))
                except (OSError, pa.ArrowException) as error:
                    raise _unreadable(block.path, error) from error
        return pa.concat_tables(tables).combine_chunks()


def _opened(filesystem: pyarrow.fs.FileSystem, path: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(filesystem.open_input_file(path))
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: object) -> WorkspaceError:
    reason = str(error).splitlines()[0].rstrip(".")
    return WorkspaceError(f"The file {path} cannot be read: {redacted(reason)}. Pull the version again.")


def check_readable(
    filesystem: pyarrow.fs.FileSystem, paths: Sequence[str], files: Sequence[Mapping[str, object]]
) -> None:
    """WorkspaceError where a file is missing, has not its published size or rows, or ends in no Parquet footer.

    `files`: the manifest's entry of each. The checksum is not computed: that would read what may never be asked for.
    """
    for path, file in zip(paths, files, strict=True):
        with _opened(filesystem, path) as opened:
            num_rows = opened.metadata.num_rows
        if num_rows != file.get("num_rows", num_rows):
            raise _unreadable(path, f"it has {num_rows:,} rows, and {file['num_rows']:,} were published")
        size = file["num_bytes"]
        if (found := filesystem.get_file_info(path).size) not in (None, size):
            raise _unreadable(path, f"it has {found:,} bytes, and {size:,} were published")


def _blocks(filesystem: pyarrow.fs.FileSystem, paths: Sequence[str]) -> list[Block]:
    blocks = []
    for path in paths:
        with _opened(filesystem, path) as file:
            sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
        blocks += [Block(path, index, size) for index, size in enumerate(sizes) if size]
    return blocks


def _known_columns(
    filesystem: pyarrow.fs.FileSystem, paths: Sequence[str], columns: Sequence[str] | None
) -> list[str] | None:
    if columns is None:
        return None
    if isinstance(columns, str) or not columns:
        raise WorkspaceError(f"columns is {columns!r}, but must be a list of at least one name, or None for all.")
    with _opened(filesystem, paths[0]) as file:
        names = file.schema_arrow.names
    for name in columns:
        if name not in names:
            raise WorkspaceError(f"The set has no column {name!r}; {near_names(name, names)}")
    return list(columns)


def _share(num_rows: int, order: Order) -> int:
    """Rows of `order.rank`: those whose place is rank modulo world size."""
    whole, left = divmod(num_rows, order.world_size)
    return whole if order.is_even else whole + (order.rank < left)


def _windows(blocks: Sequence[Block], seed: int | None, epoch: int) -> list[list[Block]]:
    if seed is None:
        return [[block] for block in blocks]
    order = list(blocks)
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return [order[start : start + WINDOW_BLOCKS] for start in range(0, len(order), WINDOW_BLOCKS)]


def _shuffled(size: int, seed: int | None, epoch: int, window: int) -> Sequence[int]:
    if seed is None:
        return range(size)
    order = list(range(size))
    random.Random(f"{seed}/{epoch}/{window}").shuffle(order)
    return order
