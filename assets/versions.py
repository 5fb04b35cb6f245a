"""Code versions: what makes an asset stale.

An asset's code version names everything its rows depend on besides its inputs: a version string that a person
bumps, the digest of its own configuration sections, the digest of the schemas of its tables, and the digest of the
source files of the pure modules it calls.
Each asset digests its own section only and adds the versions of what it is made from (`specs.with_upstream_versions`),
so a changed filter makes the filter and what follows it stale while the rollouts keep their version.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from pipelines.config import Settings
from pipelines.tables import SCHEMAS

PROJECT_ROOT = Path(__file__).resolve().parent.parent
SOURCE_SUFFIXES = {".py", ".sql", ".txt"}


def source_digest(paths: Sequence[str], root: Path = PROJECT_ROOT) -> str:
    """Digest of source files and folders (recursive), given relative to the project root.

    Raises FileNotFoundError for a path that is not there: a renamed module must not silently leave the version.
    """
    digest = hashlib.sha256()
    for file in sorted({file for path in paths for file in _source_files(root / path)}):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _source_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"code version: no such source file or folder: {path}")
    return [file for file in path.rglob("*") if file.suffix in SOURCE_SUFFIXES and "weights" not in file.parts]


def config_digest(sections: Sequence[BaseModel]) -> str:
    """Digest of configuration sections, independent of key order."""
    dumped = [section.model_dump(mode="json") for section in sections]
    return hashlib.sha256(json.dumps(dumped, sort_keys=True).encode()).hexdigest()


def text_digest(texts: Sequence[str]) -> str:
    """Digest of some texts in their order."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def schema_digest(tables: Sequence[str]) -> str:
    """Digest of the declared Arrow schemas: a new column makes the tables that have it stale."""
    return text_digest([f"{table}: {SCHEMAS.get(table)}" for table in tables])


def code_version(
    version: str, *, sources: Sequence[str], config: Sequence[BaseModel] = (), tables: Sequence[str] = ()
) -> str:
    """`<version>-<configuration>-<schemas>-<sources>`, digests cut to eight digits: compared as a whole by Dagster."""
    digests = (config_digest(config), schema_digest(tables), source_digest(sources))
    return "-".join([version, *(digest[:8] for digest in digests)])


def workspace_digest(settings: Settings, kinds: Sequence[str]) -> str:
    """`+<digest>` of the user's own files of these kinds (graders, filters, recipes, prompts, corpus); "" without any.

    A file that is missing counts as empty: the pipeline that needs it explains what is wrong.
    """
    files = sorted({file for kind in kinds for file in _workspace_files(settings, kind)})
    if not files:
        return ""
    digest = hashlib.sha256(b"\0".join(file.read_bytes() if file.is_file() else b"" for file in files))
    return f"+{digest.hexdigest()[:8]}"


def _workspace_files(settings: Settings, kind: str) -> list[Path]:
    if kind == "prompts":
        return list(settings.prompts_dir.rglob("*.txt"))
    if kind == "corpus":
        return _corpus_files(settings)
    references = list(getattr(settings.extensions, kind).values())
    if kind == "filters":
        references += [method.reference for method in settings.consistency.methods]
        references += [method.method for method in settings.preference_pairs.methods]
    if kind == "recipes":
        references.append(settings.rollouts.recipe)
    return [settings.in_workspace(reference.rpartition(":")[0]) for reference in references if ".py:" in reference]


def _corpus_files(settings: Settings) -> list[Path]:
    """The files of the corpus, where one is named."""
    if settings.retrieval.corpus is None:
        return []
    path = settings.in_workspace(settings.retrieval.corpus)
    return list(path.rglob("*.txt")) if path.is_dir() else [path]
