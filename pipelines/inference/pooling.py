"""One vector per token from a classifier that vLLM's pooling runner serves: a process critic on the policy's engine.

`ServedClassifier.outputs` is blocking, like a forward pass, because scoring is: it is called from a thread (see
`reasoning.evaluate.critic_evaluator`). Rows travel as token ids, ROWS_PER_REQUEST to an HTTP request, several requests
at once; the answer is the head's raw output (no activation) of every token in float32. Nothing is stored: scores follow
from weights and tokens. An engine that has died is started anew once per call; then EngineDeadError.
"""

import asyncio
import base64
import json
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import numpy as np

from pipelines.config import Settings
from pipelines.inference.answers import error_of_status
from pipelines.inference.engine_service import RunEngine
from pipelines.inference.errors import ContextLengthError, EngineDeadError, ServerError
from pipelines.inference.session import context_length
from pipelines.inference.worker import reason_of

ROWS_PER_REQUEST = 64
REQUESTS_IN_FLIGHT = 8


class ServedClassifier:
    """A token classifier on an engine of a run."""

    def __init__(self, settings: Settings, folder: Path, run_id: str, owner_pid: int | None = None) -> None:
        """Finds or starts the engine (tens of seconds); see `engine_service.ensure_engine`."""
        self._timeout_s = settings.engine.request_timeout_s
        self._engine = RunEngine(settings, folder, run_id, owner_pid, index=0, kind="pooling")
        self.max_model_len = context_length(settings, folder)  # tokens

    def outputs(self, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """The head's output for every token of non-empty rows: float32 arrays of shape (tokens, labels), in order.

        Raises ContextLengthError before anything is asked, EngineDeadError, ServerError.
        """
        for index, row in enumerate(rows):
            if len(row) > self.max_model_len:
                raise ContextLengthError(
                    f"Row {index} has {len(row)} tokens; the engine of {self._engine.model_name} takes "
                    f"{self.max_model_len} (policy.max_model_len, and the model's own context)."
                )
        self._engine.touch()
        try:
            return asyncio.run(self._ask(rows))
        except EngineDeadError:
            if self._engine.diagnose() is None:
                raise
        self._engine.restart()
        return asyncio.run(self._ask(rows))

    async def _ask(self, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
        room = asyncio.Semaphore(REQUESTS_IN_FLIGHT)
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        starts = range(0, len(rows), ROWS_PER_REQUEST)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            answers = await asyncio.gather(
                *(self._ask_some(http, room, rows[start : start + ROWS_PER_REQUEST]) for start in starts)
            )
        return [outputs_TK for answer in answers for outputs_TK in answer]

    async def _ask_some(
        self, http: aiohttp.ClientSession, room: asyncio.Semaphore, rows: Sequence[Sequence[int]]
    ) -> list[np.ndarray]:
        body = pooling_body(self._engine.model_name, rows)
        try:
            async with room, http.post(f"{self._engine.url}/pooling", json=body) as response:
                status, answer = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = self._engine.diagnose() or reason_of(error)
            raise EngineDeadError(f"The critic's engine at {self._engine.url} gave no answer: {why}") from error
        if status != 200:
            raise error_of_status(status, answer, "", None)
        return parse_outputs(answer, rows)


def pooling_body(model_name: str, rows: Sequence[Sequence[int]]) -> dict[str, object]:
    """The JSON object that asks for the raw outputs of rows of token ids."""
    return {
        "model": model_name,
        "input": [list(row) for row in rows],
        "task": "token_classify",
        "use_activation": False,  # else vLLM applies a sigmoid or softmax of its own choice
        "encoding_format": "base64",
        "embed_dtype": "float32",
        "endianness": "little",
    }


def parse_outputs(body: bytes, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """One array of shape (tokens, labels) per row. Raises ServerError for any other answer and for infinite numbers."""
    try:
        items = sorted(json.loads(body)["data"], key=lambda item: item["index"])
        values = [np.frombuffer(base64.b64decode(item["data"], validate=True), dtype="<f4") for item in items]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        quoted = body[:300].decode("utf-8", "replace")
        raise ServerError(f"The engine's answer holds no outputs of tokens: {quoted!r}") from error
    if len(values) != len(rows):
        raise ServerError(f"The engine answered {len(values)} rows where {len(rows)} were asked for.")
    for row, of_row in zip(rows, values, strict=True):
        if len(of_row) == 0 or len(of_row) % len(row) or not np.isfinite(of_row).all():
            raise ServerError(
                f"The engine sent {len(of_row)} numbers, some not finite, for a row of {len(row)} tokens."
            )
    return [of_row.reshape(len(row), -1) for row, of_row in zip(rows, values, strict=True)]
