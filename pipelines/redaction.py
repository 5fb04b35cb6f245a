"""Credentials out of texts that people or logs will see.

Replaced by `***`: the user part of URLs (`https://user:secret@host`), `Authorization` headers and bearer tokens, tokens
of known shapes (Hugging Face, OpenAI-style, GitHub, AWS access keys), and values of keys that are named for secrets
(`api_key=...`, `"password": "..."`, `?token=...`). What merely looks random (digests, ids) stays: reports need it.
"""

import re

HIDDEN = "***"

PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^\s/@'\"]+@", re.IGNORECASE), rf"\g<scheme>{HIDDEN}@"),
    (
        re.compile(
            r"(?P<head>\bauthorization['\"]?\s*[:=]\s*['\"]?(?:(?:bearer|basic|token)\s+)?)[^\s'\",}]+", re.IGNORECASE
        ),
        rf"\g<head>{HIDDEN}",
    ),
    (re.compile(r"(?P<head>\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\g<head>{HIDDEN}"),
    (re.compile(r"\bhf_[A-Za-z0-9]{8,}"), HIDDEN),
    (re.compile(r"\bsk-[A-Za-z0-9_-]{8,}"), HIDDEN),
    (re.compile(r"\bgh[pousr]_[A-Za-z0-9]{16,}"), HIDDEN),
    (re.compile(r"\bgithub_pat_[A-Za-z0-9_]{16,}"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
    (
        re.compile(
            r"(?P<head>\b(?:[a-z0-9]+[_-])*(?:api[_-]?key|password|passwd|secret|secret[_-]?(?:access[_-]?)?key|"
            r"access[_-]?token|auth[_-]?token|hf[_-]?token)['\"]?\s*[:=]\s*['\"]?)(?!\*\*\*)(?!null\b|None\b)[^\s'\",;&}]+",
            re.IGNORECASE,
        ),
        rf"\g<head>{HIDDEN}",
    ),
    (
        re.compile(r"(?P<head>[?&][\w-]*(?:token|key|sig|signature|credential)=)[^\s&#'\"]+", re.IGNORECASE),
        rf"\g<head>{HIDDEN}",
    ),
)


def redacted(text: object) -> str:
    """The text with every credential that is recognised replaced; applying it twice changes nothing more."""
    text = str(text)
    for pattern, replacement in PATTERNS:
        text = pattern.sub(replacement, text)
    return text
