"""Finding versions: a folder with a manifest is one, anything else is none."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import WorkspaceError

MANIFEST = "manifest.json"
LATEST = "latest"


@dataclass(frozen=True)
class PublishedVersion:
    """One immutable version: `path` is its real folder, `version` that folder's name."""

    path: Path
    version: str
    manifest: Mapping[str, object]


def list_versions(datasets_dir: Path, name: str) -> list[PublishedVersion]:
    """All versions of a dataset, oldest first; folders without a manifest are none."""
    folder = Path(datasets_dir) / name
    found = [read_version(path.parent) for path in folder.glob(f"{name}-*/{MANIFEST}")] if folder.is_dir() else []
    return sorted(found, key=lambda one: (str(one.manifest["created_at"]), one.version))


def resolve(datasets_dir: Path, name: str, version: str = LATEST) -> PublishedVersion:
    """The newest version, or the one whose name or digest starts as given; WorkspaceError when there is none."""
    versions = list_versions(datasets_dir, name)
    if version == LATEST:
        matches = versions[-1:]
    else:
        starts = [one for one in versions if version and _is_called(one, version)]
        matches = [one for one in starts if one.version == version] or starts
    if len(matches) == 1:
        return matches[0]
    there = ", ".join(one.version for one in versions[-5:]) or "none; publish one first"
    problem = "is not a version" if not matches else f"fits {len(matches)} versions"
    raise WorkspaceError(f"{version!r} {problem} of the dataset {name!r} in {datasets_dir}. Versions there: {there}.")


def read_version(path: Path) -> PublishedVersion:
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkspaceError(f"{file} cannot be read: {error}. Remove that folder or restore the file.") from error
    return PublishedVersion(path.resolve(), path.name, manifest)


def _is_called(one: PublishedVersion, text: str) -> bool:
    names: Iterable[str] = (one.version, str(one.manifest["content_sha256"]))
    return any(name.startswith(text) for name in names)
