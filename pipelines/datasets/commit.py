"""The git commit of this project's source, where it is a checkout: what a version's `code_digest` can be found by.

git is only asked, with a time limit, and only of a checkout whose top is this project: an installed copy inside some
other repository has no commit of its own.
"""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class SourceCommit:
    """A commit, and whether the source that ran differed from it."""

    commit: str
    has_changes: bool  # in the folders that were asked about, files that git does not know included

    def __str__(self) -> str:
        return f"{self.commit}{' with local changes' if self.has_changes else ''}"


def source_commit(folders: Sequence[str], root: Path = ROOT) -> SourceCommit | None:
    """The commit of a checkout and whether these folders of it have changes.

    None where `root` is no top of a checkout, git is not there, or it does not answer.
    """
    found = (_git(root, "rev-parse", "--show-toplevel", "HEAD") or "").splitlines()
    if len(found) != 2 or Path(found[0]).resolve() != root.resolve() or not COMMIT.fullmatch(found[1]):
        return None
    changes = _git(root, "status", "--porcelain", "--", *folders)
    return None if changes is None else SourceCommit(found[1], bool(changes.strip()))


def commit_of(manifest: Mapping[str, object]) -> SourceCommit | None:
    """The commit that a version was made by, as its manifest says; None where that was not recorded."""
    commit = manifest.get("code_commit")
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        return None
    return SourceCommit(commit, manifest.get("code_has_changes") is not False)


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; None where it fails, is not installed or takes too long."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], env=environment | {"GIT_OPTIONAL_LOCKS": "0"}, text=True,
            errors="replace", stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
