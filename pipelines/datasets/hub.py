"""A version -> a dataset repository on a hub, as one commit with a tag of the version's name.

The commit is what makes it atomic there: main is exactly this version before the next push, files of the version before
are deleted in the same commit, and `revision="<version>"` names it for ever. Every file is read and its checksum held
against the manifest before anything is sent. Only the card is changed: its loading examples name the repository.
The library finds the token itself (`HF_TOKEN`, or what `hf auth login` stored); it is never printed.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError

from pipelines.datasets.published import CARD, CARD_HERE, MANIFEST, PublishedVersion, card_problem, version_files
from pipelines.errors import WorkspaceError
from pipelines.redaction import redacted

KIND = "dataset"
KEPT = (".gitattributes",)  # files of the repository's own that a push leaves
PATH_LINE = re.compile(r'^path = "[^"]*"(  #.*)?$', re.MULTILINE)
PLAIN_READ = 'pyarrow.dataset.dataset(f"{path}/'


@dataclass(frozen=True)
class Pushed:
    """What a push did."""

    repository: str
    revision: str  # the tag: the version's name
    commit: str
    num_files: int
    num_deleted: int


def push_version(
    version: PublishedVersion, repository: str, *, is_private: bool = True, endpoint: str | None = None
) -> Pushed:
    """Puts a local version into `repository` (`owner/name`), which is made where it is not there.

    Raises WorkspaceError where a file is not what the manifest says, the card was edited, or the hub refuses.
    """
    additions = [CommitOperationAdd(path, data) for path, data in _contents(version, repository).items()]
    api = HfApi(endpoint=endpoint)
    try:
        api.create_repo(repository, repo_type=KIND, private=is_private, exist_ok=True)
        there = api.list_repo_files(repository, repo_type=KIND)
        kept = {*KEPT, *(one.path_in_repo for one in additions)}
        deletions = [CommitOperationDelete(path) for path in there if path not in kept]
        commit = api.create_commit(
            repository, [*additions, *deletions], commit_message=f"Version {version.version}", repo_type=KIND
        )
        api.create_tag(repository, tag=version.version, revision=commit.oid, repo_type=KIND, exist_ok=True)
    except (HfHubHTTPError, ValueError, OSError) as error:  # a name that is none is a ValueError of the library's
        raise WorkspaceError(
            f"{version.version} could not be pushed to {repository}: {redacted(str(error).splitlines()[0])}. Log in "
            "with `hf auth login` or set HF_TOKEN to a token that may write there, and push again."
        ) from None
    return Pushed(repository, version.version, commit.oid, len(additions), len(deletions))


def _contents(version: PublishedVersion, repository: str) -> dict[str, str | bytes]:
    """Path in the repository -> local path of every file, checked; the card and the manifest as bytes."""
    if not isinstance(version.path, Path):
        raise WorkspaceError(f"{version.version} is not on this machine; pull it first, then push that folder.")
    contents: dict[str, str | bytes] = {}
    for file in version_files(version.manifest):
        path = version.path / file.path
        if _sha256(path) != file.sha256:
            raise WorkspaceError(
                f"{path} is not what the manifest says (SHA-256 {file.sha256}); nothing was pushed. Pull or rebuild "
                "the version."
            )
        contents[file.path] = str(path)
    try:
        card = (version.path / CARD).read_bytes()
    except FileNotFoundError:
        card = None
    if card is None or (problem := card_problem(version.manifest, card)) is not None:
        told = problem if card is not None else f"{version.path / CARD} is missing."
        raise WorkspaceError(f"{told} Nothing was pushed; restore the card, or pull the version again.")
    shown = hub_card(card.decode(), repository, version.version).encode()
    manifest = dict(version.manifest) | {CARD_HERE: hashlib.sha256(shown).hexdigest()}
    return contents | {CARD: shown, MANIFEST: json.dumps(manifest, indent=1, ensure_ascii=False).encode()}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read: {error.strerror or error}. Nothing was pushed.") from error


def hub_card(text: str, repository: str, version: str) -> str:
    """The card with loading examples that read the repository."""
    line = f'path = "{repository}"  # revision="{version}" pins these rows'
    text = PATH_LINE.sub(lambda match: line, text)
    return text.replace(PLAIN_READ, f'pyarrow.dataset.dataset(f"hf://datasets/{{path}}@{version}/')
