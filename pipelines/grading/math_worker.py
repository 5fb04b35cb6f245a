"""The child process of `equivalence.MathChecker`: one JSON line `[reference, answer]` in, `true` or `false` out.

It runs as a script of its own and ends when its input ends. Memory is bounded, time is bounded by the parent.
"""

import json
import logging
import resource
import sys

MAX_MEMORY_BYTES = 4 << 30


def main() -> None:
    """Answers questions until the input ends."""
    from math_verify import parse, verify  # heavy, and wanted in this process only

    logging.disable(logging.WARNING)  # it warns on every call that time is unbounded; the parent bounds it
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    for line in sys.stdin:
        reference, answer = json.loads(line)
        try:
            same = verify(
                parse(_as_latex(reference), parsing_timeout=None),
                parse(_as_latex(answer), parsing_timeout=None),
                timeout_seconds=None,
            )
        # capture point: untrusted text in a third-party parser; an unreadable answer is not equal
        except Exception:  # noqa: BLE001
            same = False
        sys.stdout.write(json.dumps(bool(same)) + "\n")
        sys.stdout.flush()


def _as_latex(text: str) -> str:
    return text if "$" in text or "\\boxed" in text else f"${text}$"


if __name__ == "__main__":
    main()
