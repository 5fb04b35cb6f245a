"""Reads problems from files and code of the user's, and says exactly where a row is wrong.

Rows come one at a time, so that an error near the top of a large file shows at once. A line that cannot be
read is never skipped: a problem set with holes would change every split and every measurement.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.config import FileSource, PluginSource, Settings
from pipelines.errors import SourceError, WorkspaceError
from pipelines.extensions import explain, load_extension

MAX_INT64 = 2**63 - 1
MAX_PROMPT_CHARS = 1_000_000
BATCH_ROWS = 4096


@dataclass(frozen=True)
class RawProblem:
    """One row of a source, checked for shape but not yet graded, split or deduplicated."""

    prompt: str
    answer: str  # the whole answer field; a final answer after `####` is taken out later
    problem_id: str | None  # the source's own id; None = made from the content
    difficulty: int | None
    source: str  # the path as configured
    line: int  # 1-based line or row

    @property
    def where(self) -> str:
        """`file, line n`, the beginning of every message about this row."""
        return f"{self.source}, line {self.line}"


def read_jsonl(path: Path, source: FileSource) -> Iterator[RawProblem]:
    """The problems of a file with one JSON object per line; blank lines are passed over, `.gz` is unpacked."""
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    where = f"{source.path}, line {number}"
                    yield _problem(_json_object(line, number, where), source, number, where)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(f"{path} is damaged after line {number}: {error}. Fetch or pack the file again.") from error
    except OSError as error:
        raise SourceError(_unreadable(path, error)) from error


def read_parquet(path: Path, source: FileSource) -> Iterator[RawProblem]:
    """The problems of a Parquet file; `line` counts its rows from 1."""
    try:
        with pq.ParquetFile(path) as file:
            wanted = [source.prompt_field, source.answer_field, source.id_field, source.difficulty_field]
            columns = [name for name in wanted if name is not None]
            if missing := [name for name in columns if name not in file.schema_arrow.names]:
                raise SourceError(
                    f"{path} has no column `{missing[0]}`; it has {', '.join(file.schema_arrow.names)}. "
                    "Name the columns with prompt_field and answer_field."
                )
            number = 0
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield _problem(row, source, number, f"{source.path}, row {number}")
    except pa.ArrowException as error:
        raise SourceError(f"{path} cannot be read as Parquet: {error}. Is it a complete Parquet file?") from error
    except OSError as error:
        raise SourceError(_unreadable(path, error)) from error


def read_plugin(settings: Settings, source: PluginSource) -> Iterator[RawProblem]:
    """The problems of a function of the user's: dicts with `prompt`, `reference_answer`, maybe `problem_id`."""
    function = load_extension(settings, "sources", source.path)
    shape = FileSource(
        kind="jsonl", path=source.path, prompt_field="prompt", answer_field="reference_answer",
        id_field="problem_id", difficulty_field="difficulty",
    )  # fmt: skip
    for number, row in enumerate(_guarded(function, source), start=1):
        where = f"{source.path}, problem {number}"
        if not isinstance(row, Mapping):
            raise SourceError(f"{where}: a dict was expected, the function gave a {type(row).__name__}.")
        yield _problem({"problem_id": None, "difficulty": None, **row}, shape, number, where)


def _guarded(function: Callable, source: PluginSource) -> Iterator[object]:
    file = function.__code__.co_filename if hasattr(function, "__code__") else source.path
    try:
        yield from function()
    except Exception as error:  # capture point: the user's own code
        raise WorkspaceError(f"The problem source `{source.name}` failed. {explain(error, file)}") from error


def _unreadable(path: Path, error: OSError) -> str:
    if not path.exists():
        return f"The problem source {path} is not there. Paths in [[problems.sources]] start at the workspace folder."
    return f"The problem source {path} cannot be read: {error.strerror or error}."


def _json_object(line: bytes, number: int, where: str) -> Mapping:
    start = line[:60].decode("utf-8", "backslashreplace").strip()
    try:
        row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{where}: byte {error.start + 1} ({line[error.start]:#04x}) is not UTF-8; the line starts {start!r}. "
            "Save the file as UTF-8."
        ) from error
    except RecursionError as error:
        raise SourceError(f"{where}: too deeply nested JSON; the line starts {start!r}.") from error
    except ValueError as error:
        raise SourceError(
            f"{where}: not JSON ({error}); the line starts {start!r}. Each line must be one JSON object."
        ) from error
    if not isinstance(row, dict):
        raise SourceError(f"{where}: a JSON object was expected, there is a {type(row).__name__}: {start!r}.")
    return row


def _problem(row: Mapping, source: FileSource, number: int, where: str) -> RawProblem:
    return RawProblem(
        prompt=_text(row, source.prompt_field, where),
        answer=_text(row, source.answer_field, where, numbers=True),
        problem_id=_identifier(row, source, where),
        difficulty=_integer(row, source.difficulty_field, where),
        source=source.path,
        line=number,
    )


def _field(row: Mapping, name: str, where: str) -> object:
    if name not in row:
        raise SourceError(
            f"{where}: the field `{name}` is missing; the row has {', '.join(map(str, row)) or 'no fields'}. "
            "Name other fields with prompt_field and answer_field."
        )
    return row[name]


def _text(row: Mapping, name: str, where: str, *, numbers: bool = False) -> str:
    value = _field(row, name, where)
    if numbers and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise SourceError(f"{where}: `{name}` must be text, it is {_kind(value)}: {str(value)[:80]!r}.")
    if not value.strip():
        raise SourceError(f"{where}: `{name}` is empty; every problem needs a statement and an answer.")
    if len(value) > MAX_PROMPT_CHARS:
        raise SourceError(f"{where}: `{name}` has {len(value):,} characters; at most {MAX_PROMPT_CHARS:,} are read.")
    bad = next((character for character in value if character == "\0" or "\ud800" <= character <= "\udfff"), None)
    if bad is not None:
        raise SourceError(
            f"{where}: `{name}` holds the character U+{ord(bad):04X} at position {value.index(bad)}, "
            "which no text may hold; remove it."
        )
    return value


def _identifier(row: Mapping, source: FileSource, where: str) -> str | None:
    if source.id_field is None:
        return None
    value = _field(row, source.id_field, where)
    if value is None and source.id_field == "problem_id":
        return None
    return _text(row, source.id_field, where, numbers=True).strip()


def _integer(row: Mapping, name: str | None, where: str) -> int | None:
    """The difficulty: null and a missing field are both "the source does not say"."""
    value = row.get(name) if name is not None else None
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise SourceError(f"{where}: `{name}` must be an integer, it is {_kind(value)}: {str(value)[:80]!r}.")
    if value is not None and abs(value) > MAX_INT64:
        raise SourceError(f"{where}: `{name}` is {value}, which does not fit into 64 bits.")
    return value


def _kind(value: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        bool: "true or false",
        type(None): "null",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), type(value).__name__)
