"""What a published version is: its manifest, read as material that anybody may have written.

Only pyarrow and the standard library are imported here: the light client reads versions where nothing of ours is
installed.

Invariants
- A file named by a manifest lies inside the version's folder: names made of letters, digits, `.`, `_` and `-`, joined
  by `/`, none of them hidden or `..`. Anything else is refused before a byte is read or written.
- `content_sha256` is computed again from the sets, and `manifest_sha256` from the whole manifest as it was published,
  so that one that was edited is no version. What pulling and pushing add (`pulled_sets`, `card_here_sha256`) is no part
  of it: it stays the same wherever a version goes. Versions of format 1 were published without it and can be read.
- Every field has the kind of value that readers rely on, or is missing (older versions say less): `told` names it then.
- User names, passwords and query values of a URL never reach a message (`redacted`).
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import WorkspaceError
from pipelines.redaction import redacted
from pipelines.rows import near_names

MANIFEST, CARD = "manifest.json", "README.md"
PULLED_SETS = "pulled_sets"  # in the manifest of a pulled folder that lacks sets: those that it has
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
FILE_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
SHA256 = re.compile(r"[0-9a-f]{64}")
CARD_HERE = "card_here_sha256"  # of the folder's card where that is not the published one: of fewer sets, or of a hub
DIGEST = "manifest_sha256"
OBJECTS = ("filters", "contamination", "generated", "upstream_generations", "earlier_generations", "models", "critic",
           "stack", "seeds", "configuration")  # fmt: skip
TEXTS = ("name", "night", "engine", "code_digest", "run_id", "card_sha256", CARD_HERE)
VALUE_CHARS = 60  # of a wrong value that a message shows


class DamagedManifestError(WorkspaceError):
    """A manifest is there, and is none that can be used; `reason`: why, in words that need no `where`."""

    reason = ""


@dataclass(frozen=True)
class PublishedVersion:
    """One immutable version: `path` is its real folder (a URL as text where that is not local)."""

    path: Path | str
    version: str
    manifest: Mapping[str, object]


@dataclass(frozen=True)
class VersionFile:
    """One file of a version: `path` inside its folder, `set_name` "" where it belongs to no set."""

    path: str
    num_bytes: int
    sha256: str
    set_name: str = ""


def read_version(path: Path | str) -> PublishedVersion:
    """The version in a local folder; WorkspaceError where that is none, with the reason."""
    folder = Path(path).expanduser().resolve()
    file = folder / MANIFEST
    try:
        data = file.read_bytes()
    except OSError as error:
        reason = "it has no manifest.json" if folder.is_dir() else "there is no such folder"
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            reason = f"its manifest.json cannot be read ({error.strerror})"
        raise WorkspaceError(
            f"{folder} is not a dataset version: {reason}. A version is a folder that `reasonmill datasets pull` or"
            " a night made, complete with manifest.json."
        ) from error
    manifest = parse_manifest(data, str(file))
    return PublishedVersion(folder, str(manifest["version"]), manifest)


def parse_manifest(data: bytes, where: str) -> Mapping[str, object]:
    """The manifest in these bytes; WorkspaceError, with `where` and the field, when it is not one that can be used."""
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(where, f"it is not JSON ({error})") from error
    if not isinstance(manifest, dict):
        raise _damaged(where, f"it is a {type(manifest).__name__}, not an object")
    for field, pattern in (("version", NAME), ("content_sha256", SHA256)):
        value = manifest.get(field)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise _damaged(where, f"`{field}` is {value!r}")
    if not isinstance(manifest.get("created_at"), str):
        raise _damaged(where, f"`created_at` is {manifest.get('created_at')!r}, not a time as text")
    _check_fields(where, manifest)
    sets = manifest.get("sets")
    if not isinstance(sets, dict) or not sets:
        raise _damaged(where, "`sets` is not an object with at least one set")
    for name, entry in sets.items():
        _check_set(where, name, entry)
    files = version_files(manifest, where)
    if len({file.path for file in files}) < len(files):
        raise _damaged(where, "a file is listed twice")
    digest = sets_digest({name: (entry["columns"], [file["sha256"] for file in entry["files"]])
                          for name, entry in sets.items()})  # fmt: skip
    if digest != manifest["content_sha256"]:
        raise _damaged(
            where,
            f"it says content_sha256 {manifest['content_sha256']}, but its sets give {digest}: it was edited or cut",
        )
    _check_num_rows(where, manifest)
    _check_digest(where, manifest)
    return manifest


def with_digest(manifest: Mapping[str, object]) -> dict[str, object]:
    """The manifest with `manifest_sha256` over all of it, as it is published."""
    return dict(manifest) | {DIGEST: manifest_digest(manifest)}


def manifest_digest(manifest: Mapping[str, object]) -> str:
    """SHA-256 over the manifest as it was published, without `manifest_sha256`: JSON with sorted keys and no spaces."""
    rest = {key: value for key, value in manifest.items() if key not in (DIGEST, PULLED_SETS, CARD_HERE)}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def told(manifest: Mapping[str, object], field: str) -> object:
    """A field that older versions may lack; WorkspaceError where this one does."""
    if field not in manifest:
        raise WorkspaceError(
            f"The manifest of {manifest['version']} does not say `{field}`, which is needed here: an earlier Reasonmill"
            " published it. Publish that night again."
        )
    return manifest[field]


def version_files(manifest: Mapping[str, object], where: str = "the manifest") -> list[VersionFile]:
    """Every file but card and manifest: those of the sets, then those that `files` lists beside them (figures)."""
    of_sets = [_version_file(where, file, name) for name, entry in manifest["sets"].items() for file in entry["files"]]
    others = manifest.get("files", [])
    if not isinstance(others, list):
        raise _damaged(where, "`files` is not a list")
    return of_sets + [_version_file(where, file, "") for file in others]


def sets_digest(sets: Mapping[str, tuple[Mapping[str, str], Sequence[str]]]) -> str:
    """SHA-256 over name, columns and file digests of every set, in the order of their names."""
    parts = [[name, dict(columns), list(digests)] for name, (columns, digests) in sorted(sets.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def set_entry(version: PublishedVersion, name: str) -> Mapping[str, object]:
    """What the manifest says of one set; WorkspaceError, with near names, where it is not in that folder."""
    sets = version.manifest["sets"]
    if name not in sets:
        raise WorkspaceError(f"The version {version.version} has no set {name!r}; {near_names(name, sets)}")
    pulled = version.manifest.get(PULLED_SETS)
    if pulled is not None and name not in pulled:
        raise WorkspaceError(
            f"{version.path} was pulled with the sets {', '.join(pulled)} only; pull {version.version} again with"
            f" --set {name} to add {name!r}."
        )
    return sets[name]


def card_digest(manifest: Mapping[str, object]) -> str | None:
    """SHA-256 of the card that the folder should have; None where that was never recorded."""
    return manifest.get(CARD_HERE, manifest.get("card_sha256"))


def card_problem(manifest: Mapping[str, object], card: bytes | None) -> str | None:
    """A sentence where the card is not the one that was published; None where it is, or was never recorded."""
    expected = card_digest(manifest)
    if expected is None:
        return None
    data = "The data are untouched by that: their checksums are in manifest.json."
    if card is None:
        return f"{CARD} of {manifest['version']} is missing; `load_dataset` will not know its sets by name. {data}"
    found = hashlib.sha256(card).hexdigest()
    if found == expected:
        return None
    return (
        f"{CARD} of {manifest['version']} was edited after publication (SHA-256 {expected} was published, {found} is"
        f" there). {data}"
    )


def _check_fields(where: str, manifest: Mapping[str, object]) -> None:
    """The kinds of the fields that are there, as deep as readers go into them."""
    for field in OBJECTS:
        _check(where, f"`{field}`", manifest.get(field, {}), dict, "an object")
    for field in TEXTS:
        _check(where, f"`{field}`", manifest.get(field, ""), str, "a text")
    _check(where, "`format`", manifest.get("format", 1), int, "a whole number")
    if manifest.get("num_tokens") is not None:
        _check(where, "`num_tokens`", manifest["num_tokens"], int, "a whole number or null")
    policy = manifest.get("configuration", {}).get("policy", {"model": "", "prompt_style": ""})
    _check(where, "`configuration.policy`", policy, dict, "an object")
    for field in ("model", "prompt_style"):
        _check(where, f"`configuration.policy.{field}`", policy.get(field), str, "a text")
    contamination = manifest.get("contamination", {})
    _check(where, "`contamination.by_problem`", contamination.get("by_problem", {}), dict, "an object")
    _check(where, "`contamination.by_words`", contamination.get("by_words", []), list, "a list")
    for name, row in contamination.get("by_problem", {}).items():
        _check(where, f"`contamination.by_problem` of {name!r}", row, dict, "an object")
    for test in contamination.get("by_words", []):
        _check(where, "a test of `contamination.by_words`", test, dict, "an object")
    pulled = manifest.get(PULLED_SETS, [])
    _check(where, f"`{PULLED_SETS}`", pulled, list, "a list of sets")
    for name in pulled:
        _check(where, f"a set of `{PULLED_SETS}`", name, str, "a text")


def _check(where: str, what: str, value: object, kind: type, words: str) -> None:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        text = json.dumps(value)
        shown = text if len(text) <= VALUE_CHARS else f"{text[:VALUE_CHARS]}..."
        raise _damaged(where, f"{what} is {shown}, not {words}")


def _check_num_rows(where: str, manifest: Mapping[str, object]) -> None:
    """Files, sets and the whole have as many rows as each other; what an older manifest does not say is not checked."""
    sets = manifest["sets"]
    for name, entry in sets.items():
        counts = [file.get("num_rows") for file in entry["files"]]
        if None not in counts and sum(counts) != entry["num_rows"]:
            raise _damaged(where, f"the set {name!r} has num_rows {entry['num_rows']}, but its files {sum(counts)}")
    num_rows = sum(entry["num_rows"] for entry in sets.values())
    if manifest.get("num_rows", num_rows) != num_rows:
        raise _damaged(where, f"`num_rows` is {manifest['num_rows']!r}, but its sets have {num_rows}")


def _check_digest(where: str, manifest: Mapping[str, object]) -> None:
    if DIGEST not in manifest:
        if manifest.get("format", 1) >= 2:
            raise _damaged(where, f"it lacks `{DIGEST}`, which every version of its format has: it was edited or cut")
        return
    found = manifest_digest(manifest)
    if manifest[DIGEST] != found:
        raise _damaged(where, f"it says {DIGEST} {manifest[DIGEST]}, but its text gives {found}: it was edited or cut")


def _check_set(where: str, name: str, entry: object) -> None:
    if not NAME.fullmatch(name):
        raise _damaged(where, f"{name!r} cannot name a set")
    is_right = isinstance(entry, dict) and isinstance(entry.get("columns"), dict)
    if not is_right or not isinstance(entry.get("files"), list) or not entry["files"]:
        raise _damaged(where, f"the set {name!r} lacks `columns` or `files`")
    _check(where, f"`num_rows` of the set {name!r}", entry.get("num_rows"), int, "a whole number")
    for column, kind in entry["columns"].items():
        _check(where, f"the column {column!r} of the set {name!r}", kind, str, "a text")
    counts = {"num_prompt_tokens": 0, "num_completion_tokens": 0}
    tokens = counts if entry.get("tokens") is None else entry["tokens"]
    policies = {} if entry.get("policies") is None else entry["policies"]
    for field, value in (("tokens", tokens), ("policies", policies)):
        _check(where, f"`{field}` of the set {name!r}", value, dict, "an object")
    for field, count in (*((field, tokens.get(field)) for field in counts), *policies.items()):
        _check(where, f"`{field}` of the set {name!r}", count, int, "a whole number")


def _version_file(where: str, file: object, set_name: str) -> VersionFile:
    if not isinstance(file, dict):
        raise _damaged(where, f"a file of {set_name or 'the version'} is {file!r}")
    path, size, digest = file.get("path"), file.get("num_bytes"), file.get("sha256")
    if not isinstance(path, str) or not FILE_PATH.fullmatch(path) or path in (MANIFEST, CARD):
        raise _damaged(where, f"it names the file {path!r}, which is no path inside the version's folder; refused")
    if not isinstance(size, int) or size < 0 or not isinstance(digest, str) or not SHA256.fullmatch(digest):
        raise _damaged(where, f"the file {path!r} has num_bytes {size!r} and sha256 {digest!r}")
    _check(where, f"`num_rows` of the file {path!r}", file.get("num_rows", 0), int, "a whole number")
    return VersionFile(path, size, digest, set_name)


def _damaged(where: str, reason: str) -> DamagedManifestError:
    error = DamagedManifestError(
        f"The manifest {redacted(where)} cannot be used: {reason}. Nothing was read or changed; restore that file, make"
        " `published_version` of that night again where it was published, or pull the version again."
    )
    error.reason = reason
    return error
