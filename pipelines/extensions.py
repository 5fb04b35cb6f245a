"""Finds the user's own graders, filters, recipes and problem sources, without a fork of this project.

A reference is either `my_file.py:function`, relative to the workspace folder, or the name of an entry
point in one of the groups `reasonmill.graders`, `.filters`, `.recipes`, `.sources`. Whatever goes wrong
while loading becomes a WorkspaceError that names file, line and exception: code of the user's is the
one place where any exception may come out of an import.
"""

import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from pipelines.config import Settings
from pipelines.curation import Curation
from pipelines.errors import WorkspaceError

KINDS = ("graders", "filters", "recipes", "sources")


def load_extension(settings: Settings, kind: str, reference: str) -> Callable | Curation:
    """The object behind `reference`, one of the user's `kind`: a function, for filters or a Curation, for recipes any
    object.

    `reference` is looked up in this order: a name in `[extensions.<kind>]`, `file.py:name`, an entry point.
    Raises WorkspaceError when nothing is there, it cannot be imported, or it cannot be called.
    """
    named = getattr(settings.extensions, kind, {}).get(reference, reference)
    found = _from_file(settings.root, *named.rsplit(":", 1)) if ".py:" in named else _from_entry_point(kind, named)
    if kind != "recipes" and not callable(found) and not (kind == "filters" and isinstance(found, Curation)):
        raise WorkspaceError(f"The {kind[:-1]} `{named}` is a {type(found).__name__}; a function is needed there.")
    return found


def extension_names(settings: Settings, kind: str) -> list[str]:
    """Names of `kind` that the configuration and the installed entry points offer, sorted."""
    points = entry_points(group=f"reasonmill.{kind}")
    return sorted({*getattr(settings.extensions, kind, {}), *(point.name for point in points)})


def extension_digest(found: Callable) -> str:
    """Short digest of the file that defines an extension, for keys that must change with its code."""
    source = inspect.getsourcefile(found)
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16] if source else "builtin"


def explain(error: BaseException, file: str) -> str:
    """`<file>, line <n>: <exception>` for the innermost frame of `error` that lies in `file`."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f"{file}, line {error.lineno}: SyntaxError: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f"{file}, line {lines[-1]}" if lines else file
    return f"{where}: {type(error).__name__}: {error}"


def _from_file(root: Path, file: str, name: str) -> object:
    path = (root / Path(file).expanduser()).absolute()
    if not path.is_file():
        raise WorkspaceError(
            f"The file {path} of the extension `{file}:{name}` is not there; "
            f"paths start at the workspace folder {root}."
        )
    module = _import_file(path)
    if not hasattr(module, name):
        offered = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise WorkspaceError(f"{path} has no `{name}`; it has {', '.join(offered) or 'no functions'}.")
    return getattr(module, name)


def _import_file(path: Path) -> ModuleType:
    module_name = f"reasonmill_workspace_{path.stem}_{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # capture point: the user's own code may raise anything while it is imported
        del sys.modules[module_name]
        raise WorkspaceError(f"The extension cannot be imported. {explain(error, str(path))}") from error
    return module


def _from_entry_point(kind: str, name: str) -> object:
    points = {point.name: point for point in entry_points(group=f"reasonmill.{kind}")}
    if name not in points:
        raise WorkspaceError(
            f"There is no {kind[:-1]} called `{name}`: no such name in [extensions.{kind}] or among the entry points "
            f"reasonmill.{kind} ({', '.join(sorted(points)) or 'none installed'}). "
            "Code in the workspace is written as `my_file.py:function`."
        )
    try:
        return points[name].load()
    except Exception as error:  # capture point: the same for installed code
        raise WorkspaceError(
            f"The entry point {name} = {points[name].value} of reasonmill.{kind} cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error
