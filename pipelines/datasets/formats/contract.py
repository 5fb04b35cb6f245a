"""What a format is: from the rows of one published set to the columns that a trainer reads.

Invariants
- A conversion is pure, keeps the order of the rows, and looks at no row of another problem, so that a set of any size
  is converted piece by piece in bounded memory.
- `prompt` stays the exact text that the policy was asked with. Where a trainer wants messages, the user's message is
  what the model's chat template makes this text of (checked for every row); without a template the message is the text
  itself, and the trainer's tokenizer needs a template that adds nothing, such as PLAIN_TEMPLATE.
- Ids (`problem_id`, and `rollout_id` or `pair_id`) stay beside the trainer's columns, so that a row can be traced.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import FormatError

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
)
"""A chat template that adds nothing but the end token: messages of plain prompts become the text that they were."""

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
IDS = ("problem_id", "rollout_id")
PROBE = "\ue000probe\ue001"

UserTextFn = Callable[[str], str]
"""`user_text(prompt)`: the user's message that a chat template makes this prompt of."""


def plain_user_text(prompt: str) -> str:
    """Without a chat template the message is the prompt itself."""
    return prompt


def user_text_of(render: Callable[[str], str]) -> UserTextFn:
    """The inverse of a chat template, given as `render(user message) -> prompt, opened for the assistant`.

    FormatError where a prompt does not come out of the template again letter by letter.
    """
    head, found, tail = render(PROBE).partition(PROBE)
    if not found:
        raise FormatError("The chat template changes the words of a message, so no prompt can be taken out of it.")

    def user_text(prompt: str) -> str:
        text = prompt[len(head) : len(prompt) - len(tail)]
        if render(text) != prompt:
            raise FormatError(
                f"The prompt {prompt[:120]!r} is not what this model's chat template makes of a message: it would begin"
                f" with {head[-60:]!r} and end with {tail[:60]!r}. Name the model that the prompts were made for with"
                " --model, or give --plain to take prompts as plain text."
            )
        return text

    return user_text


@dataclass(frozen=True)
class Format:
    """One way in which rows leave; `convert` takes rows of one of the sets that it `reads`."""

    name: str
    summary: str  # one sentence
    reads: tuple[str, ...]  # published sets, or the table `splices`
    schema: pa.Schema  # of what `convert` gives; a column that is not nullable never has a null
    convert: Callable[[pa.Table], pa.Table]
    validated_by: str  # trainer or dataset class with version that a test feeds, or "column contract" with its source
    is_chat: bool = False  # has messages: `convert` also takes `user_text`
    is_by_row: bool = True  # False: rows of a problem are seen together, and become more or fewer

    def with_template(self, user_text: UserTextFn) -> "Format":
        """The same format with messages by a model's chat template; formats without messages stay as they are."""
        return replace(self, convert=partial(self.convert, user_text=user_text)) if self.is_chat else self


def columns_of(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema`, by their names; FormatError where one is missing, or null where it must not be."""
    for field in schema:
        if field.name not in table.column_names:
            raise FormatError(f"The rows have no column {field.name}; they have {', '.join(table.column_names)}.")
    return made_of(table, {name: table[name] for name in schema.names}, schema)


def made_of(
    table: pa.Table, columns: dict[str, pa.Array | pa.ChunkedArray | Sequence[object]], schema: pa.Schema
) -> pa.Table:
    """These columns as a table of `schema`; FormatError names the first row that lacks what it needs."""
    arrays = []
    for field in schema:
        values = columns[field.name]
        array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, field.type)
        if array.null_count and not field.nullable:
            row = pc.index(array.is_null(), True).as_py()
            known = [name for name in (*IDS, "pair_id", "splice_id") if name in table.column_names]
            where = ", ".join(f"{name} {table[name][row].as_py()}" for name in known) or f"row {row}"
            raise FormatError(f"{field.name} is null, and this format needs it ({where}).")
        arrays.append(array.cast(field.type) if array.type != field.type else array)
    return pa.table(arrays, schema=schema)


def needed(name: str, kind: pa.DataType) -> pa.Field:
    """A column that is never null."""
    return pa.field(name, kind, nullable=False)
