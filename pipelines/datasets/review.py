"""Solutions that people review: a queue as json lines, and their labels back into the lake (`human_labels`).

A line of the queue is one rollout: what it is (ids, problem, steps), what machines say of it unless the queue is blind,
and `first_error_step`, which the reviewer fills in: the index of the first wrong step, -1 where none is wrong, null
where nothing is said. Order and lot are hashes of ids, so that the order tells a reviewer nothing.

Invariants
- An import takes every reviewed line of a file or none: one bad line, and nothing is stored.
- Rows of `human_labels` are only ever added. Of several reviews of a solution by one person the last one counts
  (`sql/critics/reviewed_rollouts.sql`, `sql/reports/audit_labels.sql`); the earlier ones stay.
- The same review is stored once, however often its file is imported.
- A label belongs to the text that was read: a line whose problem or steps are not those of the lake is refused.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config_models import NightReportConfig
from pipelines.datasets.files import arrow_rows
from pipelines.datasets.published import PublishedVersion
from pipelines.datasets.versions import DatasetStore
from pipelines.errors import ReasonmillError
from pipelines.lake import Lake, rows_to_table
from pipelines.night_report.facts import MIN_COMPLETIONS, NUM_DISAGREEMENTS, audit_sample
from pipelines.records import stable_digest
from pipelines.rows import near_names
from pipelines.tables import RELATIONS
from pipelines.warehouse import Warehouse

Row = Mapping[str, object]

TABLE = "human_labels"
AUDITED, DISAGREEMENTS = "audited_sample", "disagreements"
SET_LIMIT = 100  # rollouts of a set in a queue, where no limit is given
SETS = ("sft", "stepwise", "rl_groups")
MACHINES = (
    "outcome_reward", "critic", "judges", "verdict", "judged_error_step", "searched_error_step", "step_values",
)  # fmt: skip
READ = ("rollouts", "problems", "step_scores", "critiques", "verdicts", "first_errors", "node_values", "search_nodes",
        "gold_steps", TABLE)  # fmt: skip
MAX_SHOWN = 20  # bad lines in one message
MAX_CHARS = 60  # of a value in a message


class ReviewError(ReasonmillError):
    """A queue that cannot be made, or a file of reviews with lines that are not as they must be."""


@dataclass(frozen=True)
class Queued:
    """A rollout that waits for a review, and the queues it stands in."""

    rollout_id: str
    why: tuple[str, ...]


@dataclass(frozen=True)
class Review:
    """What one person says of one rollout; see the table `human_labels`."""

    rollout_id: str
    problem_id: str
    night: str
    steps: tuple[str, ...]
    first_error_step: int
    reviewer: str
    reviewed_on: str | None  # None: the line does not say
    comment: str | None
    why: tuple[str, ...] | None
    is_blind: bool | None


@dataclass(frozen=True)
class BadLine:
    """A line that keeps a file from being imported."""

    line: int
    problem: str  # a snake_case word
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.problem}: {self.text}"


@dataclass(frozen=True)
class Imported:
    """What an import did: reviews stored, reviews that were there already, lines without a label."""

    num_stored: int = 0
    num_known: int = 0
    num_empty: int = 0
    nights: tuple[str, ...] = field(default=())


# the queue --------------------------------------------------------------------------------------


def audited_rollouts(warehouse: Warehouse, night: str, config: NightReportConfig) -> list[str]:
    """The right answers of a night that its audit drew."""
    drawn = audit_sample(warehouse, night, config)
    return drawn.filter(drawn["is_sampled"])["row_id"].to_pylist()


def disagreed_rollouts(warehouse: Warehouse, night: str, num_rows: int = NUM_DISAGREEMENTS) -> list[str]:
    """The rollouts of a night with the steps on which Monte Carlo, judges and critic disagree most."""
    rows = warehouse.named("reports/disagreements", night=night, num_rows=num_rows, min_completions=MIN_COMPLETIONS)
    return rows["rollout_id"].to_pylist()


def rollouts_of_set(version: PublishedVersion, set_name: str, store: DatasetStore | None = None) -> list[str]:
    """The distinct rollouts behind the rows of a published set, without refinements, whose text is another one."""
    rows = arrow_rows(version, set_name, store)
    if "rollout_id" not in rows.schema.names:
        raise ReviewError(
            f"The rows of the set {set_name} are no single solutions (they have no rollout_id); the sets that can be "
            f"reviewed are {', '.join(SETS)}."
        )
    columns = [name for name in ("rollout_id", "origin") if name in rows.schema.names]
    table = rows.to_table(columns=columns)
    if "origin" in columns:
        table = table.filter(pc.fill_null(pc.not_equal(table["origin"], "refinements"), True))
    return table["rollout_id"].drop_null().unique().to_pylist()


def reviewed_rollouts(warehouse: Warehouse) -> set[str]:
    """Rollouts that somebody has reviewed."""
    return set(warehouse.query(f"select distinct rollout_id from {TABLE}")["rollout_id"].to_pylist())


def queued(queues: Mapping[str, Sequence[str]], limit: int | None = None, left_out: Iterable[str] = ()) -> list[Queued]:
    """The rollouts of several queues, each once, `limit` of a queue at most, in an order that tells nothing."""
    skipped = set(left_out)
    why: dict[str, list[str]] = {}
    for name, rollout_ids in queues.items():
        waiting = sorted({one for one in rollout_ids if one not in skipped}, key=lambda one: stable_digest("lot", one))
        for rollout_id in waiting[:limit]:
            why.setdefault(rollout_id, []).append(name)
    return [Queued(one, tuple(why[one])) for one in sorted(why, key=lambda one: stable_digest("order", one))]


def queue_lines(warehouse: Warehouse, chosen: Sequence[Queued], *, is_blind: bool = False) -> list[dict[str, object]]:
    """One line per queued rollout that the lake has, ready to be filled in."""
    why = {one.rollout_id: one.why for one in chosen}
    rows = _rows_of(warehouse, [one.rollout_id for one in chosen])
    return [_line(row, why[row["rollout_id"]], is_blind) for row in rows.values()]


def _line(row: Row, why: Sequence[str], is_blind: bool) -> dict[str, object]:
    shown = {"machines": {name: row[name] for name in MACHINES}} if not is_blind else {}
    return {
        "rollout_id": row["rollout_id"], "problem_id": row["problem_id"], "night": row["night"], "why": list(why),
        "blind": is_blind, "problem": row["problem"], "reference_answer": row["reference_answer"],
        "steps": row["steps"], "answer": row["answer"], **shown,
        "first_error_step": None, "comment": None, "reviewer": None, "reviewed_on": None,
    }  # fmt: skip


def _rows_of(warehouse: Warehouse, rollout_ids: Sequence[str]) -> dict[str, Row]:
    """rollout_id -> what a reviewer reads and what machines say, of the rollouts that exist."""
    rows = [{"position": position, "rollout_id": one} for position, one in enumerate(rollout_ids)]
    warehouse.hold("review_queue", pa.Table.from_pylist(rows, schema=RELATIONS["review_queue"]))
    return {row["rollout_id"]: row for row in warehouse.named("datasets/review_rows").to_pylist()}


# the way back -----------------------------------------------------------------------------------


def read_reviews(
    path: Path, warehouse: Warehouse, reviewer: str | None = None, reviewed_on: str | None = None
) -> tuple[list[Review], int]:
    """(the reviews of a file, its lines without a label); ReviewError with every bad line where there is one.

    reviewer, reviewed_on: of lines that do not say so themselves.
    """
    if reviewed_on is not None:  # also where every line says its own
        try:
            reviewed_on = _day(reviewed_on)
        except _Refused as refused:
            raise ReviewError(f"--date: {refused.text}.") from refused
    parsed, bad = _parsed_lines(path)
    known = _rows_of(warehouse, [str(line["rollout_id"]) for _, line in parsed if "rollout_id" in line])
    reviews: dict[tuple[str, str], int] = {}
    found, num_empty = [], 0
    for number, line in parsed:
        try:
            review = _review(line, known, reviewer, reviewed_on)
            if review is None:
                num_empty += 1
                continue
            first = reviews.setdefault((review.rollout_id, review.reviewer), number)
            if first != number:
                raise _Refused(
                    "duplicate", f"{review.reviewer} labels {review.rollout_id} in line {first} already; once per file"
                )
            found.append(review)
        except _Refused as refused:
            bad.append(BadLine(number, refused.problem, refused.text))
    if bad:
        raise _bad_file(path, bad, len(parsed) + sum(one.problem in UNREADABLE for one in bad))
    if not parsed:
        raise ReviewError(f"{path} has no line; it must be a queue that `reasonmill datasets review export` wrote.")
    return found, num_empty


def store_reviews(lake: Lake, reviews: Sequence[Review], num_empty: int = 0, today: date | None = None) -> Imported:
    """Adds the reviews that are not there yet to `human_labels`, night by night.

    A review without a date gets today's, unless the same person's same words on the same rollout are stored already.
    """
    num_stored = num_known = 0
    changed = []
    by_night: dict[str, list[Review]] = {}
    for review in reviews:
        by_night.setdefault(review.night, []).append(review)
    with lake.lease(f"{TABLE}.import"):
        for night, some in sorted(by_night.items()):
            before = lake.read(TABLE, night)
            new = _new_rows(some, before, _import_number(lake, night), (today or datetime.now(UTC).date()).isoformat())
            num_stored, num_known = num_stored + len(new), num_known + len(some) - len(new)
            if new:
                lake.write(TABLE, pa.concat_tables([before, rows_to_table(TABLE, new)]), partition=night)
                changed.append(night)
    return Imported(num_stored, num_known, num_empty, tuple(changed))


def rows_until(rows: pa.Table, generation: str) -> pa.Table:
    """The rows of `human_labels` that a generation of a night had, among those of a later one: none is ever removed."""
    return rows.filter(pc.less_equal(rows["import_number"], int(generation[:8])))


def _import_number(lake: Lake, night: str) -> int:
    generation = lake.generation(TABLE, night)
    return int(generation[:8]) + 1 if generation else 1


def _new_rows(reviews: Sequence[Review], before: pa.Table, number: int, today: str) -> list[dict[str, object]]:
    said = {(row["rollout_id"], row["reviewer"], row["first_error_step"], row["comment"]): None
            for row in before.to_pylist()}  # fmt: skip
    stored = set(before["review_id"].to_pylist())
    rows = []
    for review in reviews:
        words = (review.rollout_id, review.reviewer, review.first_error_step, review.comment)
        if review.reviewed_on is None and words in said:
            continue
        day = review.reviewed_on or today
        review_id = stable_digest(*words, day)
        if review_id not in stored:
            rows.append({
                "review_id": review_id, "rollout_id": review.rollout_id, "problem_id": review.problem_id,
                "steps": list(review.steps), "first_error_step": review.first_error_step, "reviewer": review.reviewer,
                "reviewed_on": day, "comment": review.comment, "why": None if review.why is None else list(review.why),
                "is_blind": review.is_blind, "import_number": number, "night": review.night,
            })  # fmt: skip
    return rows


# one line ---------------------------------------------------------------------------------------

UNREADABLE = ("not_utf8", "truncated_json", "not_json", "not_an_object", "half_character")


class _Refused(Exception):
    def __init__(self, problem: str, text: str) -> None:
        super().__init__(text)
        self.problem, self.text = problem, text


def _parsed_lines(path: Path) -> tuple[list[tuple[int, dict[str, object]]], list[BadLine]]:
    """(number, object) of the lines that hold one, and the others; blank lines pass."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ReviewError(f"{path} cannot be read: {error.strerror or error}.") from error
    parsed, bad = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            parsed.append((number, _object(line, is_last=number == len(lines))))
        except _Refused as refused:
            bad.append(BadLine(number, refused.problem, refused.text))
    return parsed, bad


def _object(line: bytes, *, is_last: bool) -> dict[str, object]:
    try:
        found = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _Refused("not_utf8", f"byte {error.start} is no UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        word = "truncated_json" if is_last or not line.rstrip().endswith(b"}") else "not_json"
        raise _Refused(word, f"one whole JSON object is needed ({error})") from error
    if not isinstance(found, dict):
        raise _Refused("not_an_object", f"{_shown(found)} is no JSON object")
    for name, value in found.items():
        if half := _half_character(name) or _half_character(json.dumps(value, ensure_ascii=False)):
            raise _Refused(
                "half_character",
                f"{ascii(name)[1:-1]} holds {half}, half of a character such as an emoji; write it whole",
            )
    return found


def _half_character(text: str) -> str | None:
    """The first lone surrogate of a text as its escape, `\\ud800`: such a text cannot be stored; None: it has none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return ascii(text[error.start])[1:-1]
    return None


def _review(
    line: Mapping[str, object], known: Mapping[str, Row], reviewer: str | None, reviewed_on: str | None
) -> Review | None:
    """The review of a line, None where it has no label; _Refused where something is not as it must be."""
    for name in ("rollout_id", "problem", "steps", "first_error_step"):
        if name not in line:
            raise _Refused("missing_field", f"{name} is missing; {near_names(name, line)}")
    row = known.get(str(line["rollout_id"]))
    if row is None:
        raise _Refused("unknown_id", f"there is no rollout {_shown(line['rollout_id'])} in the lake")
    for name in ("problem", "steps"):
        if line[name] != row[name]:
            raise _Refused("changed_text", _change(name, line[name], row[name]))
    label = line["first_error_step"]
    if label is None:
        return None
    last = len(row["steps"]) - 1
    if isinstance(label, bool) or not isinstance(label, int):
        raise _Refused("wrong_type", f"first_error_step is {_shown(label)}; a whole number from -1 to {last}, or null")
    if not -1 <= label <= last:
        raise _Refused(
            "label_out_of_range",
            f"first_error_step is {label}, but the solution has {last + 1} steps: 0 to {last}, or -1 for no error",
        )
    return Review(
        row["rollout_id"], row["problem_id"], row["night"], tuple(row["steps"]), label,
        _text(line, "reviewer") or _named(reviewer), _day(_text(line, "reviewed_on") or reviewed_on),
        _text(line, "comment"), _names(line.get("why")), _flag(line.get("blind")),
    )  # fmt: skip


def _change(name: str, found: object, expected: object) -> str:
    if name == "steps" and isinstance(found, list) and isinstance(expected, list):
        if len(found) != len(expected):
            return f"steps has {len(found)} entries, but the rollout has {len(expected)}"
        index = next(i for i, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1])
        return f"step {index} is {_shown(found[index])}, but the rollout has {_shown(expected[index])}"
    return f"{name} is {_shown(found)}, but the lake has {_shown(expected)}"


def _named(reviewer: str | None) -> str:
    if not reviewer or not reviewer.strip():
        raise _Refused("no_reviewer", "reviewer is empty; name the person in the line or by --reviewer")
    if half := _half_character(reviewer):  # of --reviewer: a byte of the command line that is no UTF-8
        raise _Refused("half_character", f"--reviewer holds {half}, which is no character")
    return reviewer.strip()


def _text(line: Mapping[str, object], name: str) -> str | None:
    value = line.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _Refused("wrong_type", f"{name} is {_shown(value)}; it must be text or null")
    return value.strip() or None


def _day(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise _Refused("bad_date", f"reviewed_on is {_shown(text)}; a date such as 2026-11-21 is needed") from error


def _names(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _Refused("wrong_type", f"why is {_shown(value)}; it must be a list of names, as it was exported")
    return tuple(value)


def _flag(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise _Refused("wrong_type", f"blind is {_shown(value)}; it must be true or false, as it was exported")


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=_half_character(json.dumps(value, ensure_ascii=False)) is not None)
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}..."


def _bad_file(path: Path, bad: Sequence[BadLine], num_lines: int) -> ReviewError:
    shown = sorted(bad, key=lambda one: one.line)[:MAX_SHOWN]
    more = f"\n... and {len(bad) - len(shown)} more" if len(bad) > len(shown) else ""
    return ReviewError(
        f"{path}: {len(bad)} of {num_lines} lines cannot be imported, so none was; mend them and import it again.\n"
        + "\n".join(map(str, shown))
        + more
    )
