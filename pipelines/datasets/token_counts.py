"""Tokens of the rows of a set by the policy's tokenizer, counted while the rows are on their way to disk.

Exact: a row's texts are encoded as a trainer with this tokenizer encodes them, without special tokens of its own; texts
of chats hold theirs. Texts that occur often, such as prompts, are encoded once per piece. `rl_groups` carries token ids
and is counted by a query (`sql/datasets/token_counts.sql`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import Settings
from pipelines.errors import ModelFolderError
from pipelines.inference.session import model_folder
from pipelines.inference.tokens import Tokenizer
from pipelines.reasoning.prompts import load_prompts

OWN_IDS = "token ids of the rows"
PROMPT = {"sft": ("prompt",), "preference": ("prompt",), "stepwise": ("prompt",), "prompts": ("prompt",)}
COMPLETION = {"sft": ("completion",), "preference": ("chosen", "rejected"), "stepwise": ("completions",), "prompts": ()}
"""Set -> columns whose texts are its prompt and its completion; of a pair both sides are completions."""

CountFn = Callable[[list[str]], list[int]]


@dataclass(frozen=True)
class SetTokens:
    """Tokens of one set; None with a `reason` where they were not counted."""

    tokenizer: str
    num_prompt_tokens: int | None
    num_completion_tokens: int | None
    reason: str | None = None

    def to_json(self) -> dict[str, object] | None:
        """The entry `tokens` of a manifest."""
        if self.reason is not None:
            return None
        return {
            "num_prompt_tokens": self.num_prompt_tokens,
            "num_completion_tokens": self.num_completion_tokens,
            "tokenizer": self.tokenizer,
        }


class TokenCounter:
    """Adds up the tokens of the pieces of one set that pass through it."""

    def __init__(self, set_name: str, tokenizer: str, count: CountFn | None, separator: str, reason: str | None = None):
        """count: number of tokens per text; None counts nothing, for the `reason`. separator: ends every step."""
        self._set_name, self._tokenizer, self._count = set_name, tokenizer, count
        self._separator, self._reason = separator, reason
        self._num_prompt = self._num_completion = 0

    def counted(self, pieces: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """The same pieces."""
        for piece in pieces:
            if self._count is not None:
                self._num_prompt += sum(self._tokens_of(piece[name]) for name in PROMPT[self._set_name])
                self._num_completion += sum(self._tokens_of(piece[name]) for name in COMPLETION[self._set_name])
            yield piece

    def found(self) -> SetTokens:
        """What was counted so far."""
        if self._count is None:
            return SetTokens(self._tokenizer, None, None, self._reason)
        return SetTokens(self._tokenizer, self._num_prompt, self._num_completion)

    def _tokens_of(self, column: pa.ChunkedArray) -> int:
        """Tokens of a column of texts, or of lists of steps; a null has none."""
        if pa.types.is_list(column.type):
            end = self._separator
            steps = column.drop_null().to_pylist()
            column = pa.chunked_array([pa.array(["".join(step + end for step in one) for one in steps], pa.string())])
        texts = pc.value_counts(column.combine_chunks().drop_null())
        counts = self._count(texts.field("values").to_pylist())
        times = texts.field("counts").to_pylist()
        return sum(count * time for count, time in zip(counts, times, strict=True))


def token_counters(settings: Settings, num_rows: Mapping[str, int]) -> dict[str, TokenCounter]:
    """A counter for every set of texts, by its number of rows; one that counts nothing says why."""
    model = settings.policy.model
    known = {name: rows for name, rows in num_rows.items() if name in PROMPT}
    limit = settings.publishing.max_counted_rows
    try:
        tokenizer = Tokenizer.load(model_folder(model)) if any(rows <= limit for rows in known.values()) else None
        unread = None
    except ModelFolderError:
        tokenizer, unread = None, f"the tokenizer of the policy {model} could not be read"
    separator = load_prompts(settings.policy.prompt_style, settings.prompts_dir).step_separator

    def counter(name: str, rows: int) -> TokenCounter:
        if rows > limit:
            reason = f"{rows:,} rows are above publishing.max_counted_rows = {limit:,}"
            return TokenCounter(name, model, None, separator, reason)
        return TokenCounter(name, model, tokenizer and tokenizer.count, separator, unread)

    return {name: counter(name, rows) for name, rows in known.items()}
