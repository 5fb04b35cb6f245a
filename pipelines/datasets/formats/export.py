"""One published set into a file or folder in a format: read, converted and written piece by piece.

What is in memory at a time is about two row groups, tens of MB as Arrow and some hundreds while a format of messages
or tokens makes them, whatever the size of the set. Files appear complete or not at all; a split without a row gets no
file, since an empty one breaks loaders.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.apply.target import write_lines
from pipelines.datasets.files import check_digest
from pipelines.datasets.formats.contract import Format
from pipelines.datasets.published import PublishedVersion, set_entry, told
from pipelines.datasets.splits import rows_in_split
from pipelines.errors import FormatError
from pipelines.lake import Lake, write_parquet_batches
from pipelines.redaction import redacted
from pipelines.rows import row_groups

PARQUET, LINES = ".parquet", (".jsonl", ".jsonl.gz")
WHOLE = "train"  # name of the file in a folder where no splits are asked for
SPLICES = "splices"


@dataclass(frozen=True)
class Written:
    """One file of an export; `path` is None where the split has no rows."""

    split: str
    path: Path | None
    num_rows: int


def export(
    version: PublishedVersion,
    form: Format,
    target: Path,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    lake: Lake | None = None,
    overwrite: bool = False,
) -> list[Written]:
    """Writes the set that `form` reads to `target`, a file by its suffix, else a folder with one file per split.

    A file that is there already is an error, before anything is written, unless `overwrite`.
    `shares` are those of `splits.checked_shares`. FormatError where the version has no such set, or nothing is left.
    """
    is_file = target.name.endswith((PARQUET, *LINES))
    if is_file and shares:
        raise FormatError(f"{target} is one file, and splits need several; give a folder with --to.")
    paths = {split: target if is_file else target / f"{split}{PARQUET}" for split in shares or (WHOLE,)}
    if not overwrite:
        check_new(*paths.values())
    written = []
    for split, path in paths.items():
        pieces: Iterable[pa.Table] = source_rows(version, form, lake)
        if shares:
            pieces = (rows_in_split(piece, split, shares, seed) for piece in pieces)
        num_rows = write_rows(path, form, converted(form, pieces))
        written.append(Written(split, path if num_rows else None, num_rows))
    if not any(one.num_rows for one in written):
        raise FormatError(f"{version.version} has no row for the format {form.name}, so nothing was written.")
    return written


def check_new(*paths: Path) -> None:
    """FormatError where one of the files is there already."""
    for path in paths:
        if path.exists():
            raise FormatError(f"{path} is there already, and nothing was written; name another, or give --force.")


def converted(form: Format, pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The pieces in the format; a format that sees a problem's rows together gets them together."""
    for piece in pieces if form.is_by_row else whole_problems(pieces):
        if piece.num_rows:
            yield form.convert(piece)


def whole_problems(pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, cut only between problems; sets are ordered by problem, so that needs little memory."""
    held: pa.Table | None = None
    for piece in pieces:
        rows = pa.concat_tables([held, piece]) if held is not None else piece
        last = rows["problem_id"][-1].as_py() if rows.num_rows else None
        end = pc.index(rows["problem_id"], last).as_py() if rows.num_rows else 0
        if end:
            yield rows.slice(0, end)
        held = rows.slice(end)
    if held is not None and held.num_rows:
        yield held


def write_rows(path: Path, form: Format, tables: Iterable[pa.Table]) -> int:
    """Writes the rows as their file's name says, and counts them; no rows, no file."""
    tables = iter(tables)
    first = next((table for table in tables if table.num_rows), None)
    if first is None:
        return 0
    rows = row_groups(chain([first], tables))
    if path.name.endswith(PARQUET):
        return write_parquet_batches(path, form.schema, rows).num_rows
    counted = _Counted(rows)
    write_lines(path, (row for table in counted for row in table.to_pylist()))
    return counted.num_rows


class _Counted:
    """Tables on their way, and how many rows they had."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._tables = tables
        self.num_rows = 0

    def __iter__(self) -> Iterator[pa.Table]:
        for table in self._tables:
            self.num_rows += table.num_rows
            yield table


# reading ------------------------------------------------------------------------------------------


def source_rows(version: PublishedVersion, form: Format, lake: Lake | None = None) -> Iterator[pa.Table]:
    """Rows of the set that the format reads, piece by piece."""
    if form.reads == (SPLICES,):
        return splices_of(version, lake)
    sets = [name for name in form.reads if name in version.manifest["sets"]]
    if not sets:
        there = ", ".join(version.manifest["sets"])
        raise FormatError(f"The format {form.name} reads {form.reads[0]}, and {version.version} has only {there}.")
    return set_rows(version, sets[0])


def set_rows(version: PublishedVersion, name: str) -> Iterator[pa.Table]:
    """One set of a version, a row group at a time; WorkspaceError where a file is not the one that was published."""
    filesystem, folder = fsspec.core.url_to_fs(str(version.path))
    for entry in set_entry(version, name)["files"]:
        path = f"{folder}/{entry['path']}"
        try:
            with filesystem.open(path, "rb") as source:
                check_digest(redacted(path), hashlib.file_digest(source, "sha256").hexdigest(), entry["sha256"])
                source.seek(0)
                file = pq.ParquetFile(source)
                for group in range(file.num_row_groups):
                    yield file.read_row_group(group)
        except (OSError, pa.ArrowException) as error:
            raise FormatError(f"{redacted(path)} cannot be read: {str(error).splitlines()[0]}") from error


def difficulties_of(version: PublishedVersion) -> dict[str, int | None]:
    """Difficulty by problem, as the set `prompts` of the version has it."""
    if "prompts" not in version.manifest["sets"]:
        raise FormatError(f"{version.version} has no set prompts, so the difficulty of its problems is not known.")
    pieces = [table.select(["problem_id", "difficulty"]) for table in set_rows(version, "prompts")]
    return {row["problem_id"]: row["difficulty"] for piece in pieces for row in piece.to_pylist()}


def splices_of(version: PublishedVersion, lake: Lake | None) -> Iterator[pa.Table]:
    """Splices of the version's night, each behind the policy's own prompt; splices are no set of a version.

    FormatError where the lake no longer holds the generation that stood beside the version.
    """
    night = str(told(version.manifest, "night"))
    at_version = told(version.manifest, "upstream_generations").get(SPLICES)
    now = lake.generation(SPLICES, night) if lake is not None else None
    if at_version is None or now != at_version:
        raise FormatError(
            f"The splices of {night} beside {version.version} are generation {at_version or 'none'},"
            f" and the lake has {now or 'none'}; export from the workspace that published it, before that night is"
            " made again."
        )
    prompts = {
        row["problem_id"]: row["prompt"]
        for table in set_rows(version, "prompts")
        for row in table.select(["problem_id", "prompt"]).to_pylist()
    }
    for path in lake.files(SPLICES, night):
        with lake.filesystem.open(path, "rb") as source:
            file = pq.ParquetFile(source)
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group)
                texts = [prompts.get(problem_id) for problem_id in rows["problem_id"].to_pylist()]
                known = rows.set_column(rows.schema.get_field_index("prompt"), "prompt", pa.array(texts, pa.string()))
                yield known.filter(pc.is_valid(known["prompt"]))
