"""The small vocabulary that every pipeline shares: stable hashes, progress, and token accounting.

Seeds and ids come from `stable_digest`, never from the built-in `hash`, which differs between
processes. Nothing here reads a clock or the environment.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

ProgressFn = Callable[[str, int, int, Mapping[str, float]], None]
"""Called as `on_progress(stage, done, total, numbers)`; numbers such as `tokens_per_s` have stable names."""


def no_progress(stage: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
    """The default `ProgressFn`: says nothing."""


def stable_digest(*parts: object, length: int = 16) -> str:
    """First `length` hex digits of the SHA-256 of the JSON form of `parts` (strings, numbers, lists)."""
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def stable_seed(*parts: object) -> int:
    """A seed in [0, 2**31) that depends on `parts` alone, the same in every process."""
    return int(stable_digest(*parts), 16) % 2**31


@dataclass(frozen=True)
class TokenUsage:
    """What some piece of work cost. Replayed requests count as if they had been asked again, so that
    a resumed run reports the same cost as an undisturbed one; `num_from_store` tells them apart.
    """

    num_requests: int = 0
    num_from_store: int = 0
    num_errors: int = 0
    prompt_tokens: int = 0  # once per request, whatever its number of samples
    cached_tokens: int = 0  # of the prompt tokens, those served from the engine's prefix cache
    completion_tokens: int = 0  # every generated token, those of rejected samples included
    replayed_tokens: int = 0  # of the completion tokens, those that the response store answered
    critic_tokens: int = 0  # tokens read by a critic

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        names = [field.name for field in fields(self)]
        return TokenUsage(**{name: getattr(self, name) + getattr(other, name) for name in names})
