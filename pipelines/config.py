"""Reads and validates `reasonmill.toml`, and explains what is wrong with it.

The file is looked for at the given path, then at `$REASONMILL_CONFIG`, then as `./reasonmill.toml`,
then as `./workspace/reasonmill.toml`; where there is none the built-in defaults hold with
`./workspace` as workspace folder. A key that does not exist or a value out of bounds never passes:
the error names the file, the line, the dotted key, the value and what would be right.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pipelines.config_models import (
    STARTER_AGENTS,
    AgentConfig,
    AgentMethodConfig,
    CloudCriticConfig,
    ConsistencyConfig,
    ConsistencyMethodConfig,
    CriticConfig,
    CritiquesConfig,
    EngineConfig,
    ExtensionsConfig,
    FileSource,
    GenerativeCriticConfig,
    MadeSource,
    NewProblemMethodConfig,
    NewProblemsConfig,
    NightReportConfig,
    PairJudgmentsConfig,
    PairMethodConfig,
    PairsConfig,
    PathsConfig,
    PluginSource,
    PolicyConfig,
    ProblemsConfig,
    PromotionConfig,
    PublishingConfig,
    ReplayConfig,
    ReportsConfig,
    RetrievalConfig,
    RolloutsConfig,
    ScheduleConfig,
    Section,
    Settings,
    SourceConfig,
    StarterSource,
    StrategyConfig,
    TokenScoresConfig,
    TrainingSetsConfig,
    TreeExtractsConfig,
)
from pipelines.errors import ConfigError

__all__ = [
    "STARTER_AGENTS", "AgentConfig", "AgentMethodConfig", "CloudCriticConfig", "ConsistencyConfig",
    "ConsistencyMethodConfig", "CriticConfig", "CritiquesConfig", "EngineConfig", "ExtensionsConfig", "FileSource",
    "GenerativeCriticConfig", "MadeSource", "NewProblemMethodConfig", "NewProblemsConfig", "NightReportConfig",
    "PairJudgmentsConfig", "PairMethodConfig", "PairsConfig", "PathsConfig", "PluginSource", "PolicyConfig",
    "ProblemsConfig", "PromotionConfig", "PublishingConfig", "ReplayConfig", "ReportsConfig", "RetrievalConfig",
    "RolloutsConfig", "ScheduleConfig", "Section", "Settings", "SourceConfig", "StarterSource", "StrategyConfig",
    "TokenScoresConfig", "TrainingSetsConfig", "TreeExtractsConfig", "allowed_values", "effective", "key_lines",
    "load_settings", "parse_settings",
]  # fmt: skip

CONFIG_VARIABLE = "REASONMILL_CONFIG"
CONFIG_NAME = "reasonmill.toml"
MAX_PROBLEMS_SHOWN = 5

Location = tuple[str | int, ...]


def load_settings(path: str | Path | None = None) -> Settings:
    """The configuration of a toml file, or the built-in defaults where no file is named or found.

    Raises ConfigError when a named file is missing, unreadable, not TOML or not valid.
    """
    file = _find_file(path)
    if file is None:
        return Settings()
    try:
        text = file.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"The configuration {file} cannot be read: {error.strerror}. {_how_named(path)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"The configuration {file} is not UTF-8 text (byte {error.start}); save it so.") from error
    return parse_settings(text, file)


def parse_settings(text: str, file: Path) -> Settings:
    """The configuration that `text`, the content of `file`, stands for; raises ConfigError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"The configuration {file} is not valid TOML: {error}. Strings need quotes, lists need "
            "[ ], a section starts with [name]."
        ) from error
    lines = key_lines(text)
    if "root" in data:
        raise ConfigError(_problem_text(file, lines, {"type": "extra_forbidden", "loc": ("root",), "input": 0}, data))
    root = str(file.absolute().parent)
    try:
        # strict JSON mode: "8" is no number and 1 is no truth value, yet lists become tuples and text becomes paths
        settings = Settings.model_validate_json(json.dumps({**data, "root": root}, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(_explain(file, lines, error, data)) from error
    settings._file = file.absolute()
    settings._lines.update({key: line for key, line in lines.items() if key not in lines.headers})
    return settings


def effective(settings: Settings) -> list[tuple[str, object, str]]:
    """Every dotted key with its value and where it came from: `default` or `<file>:<line>`.

    List items have their index in the key (`problems.sources[0].family`). The workspace folder comes first.
    """
    rows: list[tuple[str, object, str]] = [("root", str(settings.root), str(settings._file or "default"))]
    for name in Settings.model_fields:
        if name != "root":
            rows += [(key, value, _origin(settings, key)) for key, value in _flatten(name, getattr(settings, name))]
    return rows


def _flatten(prefix: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _flatten(f"{prefix}.{name}", getattr(value, name))
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for index, item in enumerate(value):
            yield from _flatten(f"{prefix}[{index}]", item)
    elif isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _flatten(f"{prefix}.{name}", item)
    else:
        yield prefix, value


def _origin(settings: Settings, key: str) -> str:
    line = settings._lines.get(key)
    if line is None:
        # a key of an inline table or list carries the line of the whole value: sources = [{...}]
        holders = [known for known in settings._lines if key.startswith((f"{known}.", f"{known}["))]
        line = settings._lines[max(holders, key=len)] if holders else None
    return "default" if line is None else f"{settings._file}:{line}"


def _find_file(path: str | Path | None) -> Path | None:
    named = path or os.environ.get(CONFIG_VARIABLE)
    if named:
        file = Path(named).expanduser()
        return file / CONFIG_NAME if file.is_dir() else file
    candidates = (Path(CONFIG_NAME), Path("workspace") / CONFIG_NAME)
    return next((candidate.absolute() for candidate in candidates if candidate.is_file()), None)


def _how_named(path: str | Path | None) -> str:
    how = "this command" if path else f"--config or the environment variable {CONFIG_VARIABLE}"
    return f"It was named by {how}; `reasonmill config init` writes a commented one."


class KeyLines(dict[str, int]):
    """1-based line of every dotted key of a toml text; `headers` are those of [section] lines, which set no value."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: set[str] = set()


_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]\[]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")


def key_lines(text: str) -> KeyLines:
    """Where each key of a valid toml text stands, for messages; multi-line strings are stepped over."""
    lines, section, counts, quote = KeyLines(), "", {}, None
    for number, line in enumerate(text.splitlines(), start=1):
        if quote is not None:
            quote = None if quote in line else quote
            continue
        if header := _HEADER.match(line):
            section = _dotted(header[2])
            if header[1] == "[[":
                counts[section] = counts.get(section, -1) + 1
                section = f"{section}[{counts[section]}]"
            lines[section] = number
            lines.headers.add(section)
        elif key := _KEY.match(line):
            lines[f"{section}.{_dotted(key[1])}".lstrip(".")] = number
            quote = next((mark for mark in ('"""', "'''") if line.count(mark) % 2), None)
    return lines


def _dotted(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))


def _explain(file: Path, lines: Mapping[str, int], error: ValidationError, data: Mapping) -> str:
    found = error.errors(include_url=False)
    # a bad list item makes pydantic complain of the list too; only the inner complaint helps
    problems = [one for one in found if not any(_inside(other["loc"], one["loc"]) for other in found)]
    texts = [_problem_text(file, lines, problem, data) for problem in problems[:MAX_PROBLEMS_SHOWN]]
    if len(problems) > MAX_PROBLEMS_SHOWN:
        texts.append(f"There are {len(problems) - MAX_PROBLEMS_SHOWN} more problems in this file.")
    return " ".join(texts)


def _inside(inner: Location, outer: Location) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _problem_text(file: Path, lines: Mapping[str, int], problem: Mapping, data: Mapping) -> str:
    model, info, location = _resolve(problem["loc"], data)
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    where = f"{file}{_line_of(lines, key)}"
    if problem["type"] == "extra_forbidden":
        known = [name for name in model.model_fields if name != "root"] if model else []
        near = difflib.get_close_matches(str(location[-1]), known, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Known keys there: {', '.join(known)}."
        return f"{where}: unknown key `{key}`. {hint}"
    if problem["type"] == "missing":
        return f"{where}: the key `{key}` is missing{_meaning(info)}."
    if problem["type"].startswith("union_tag"):
        kinds = (problem.get("ctx") or {}).get("expected_tags", "starter, jsonl, parquet, plugin")
        return f"{where}: `{key}` needs `kind`, one of {kinds}; it has {_shown(problem['input'])}."
    if problem["type"] == "value_error":
        return f"{where}: `{key}` cannot stand like this: {problem['ctx']['error']}."
    allowed = allowed_values(info) if info is not None else problem["msg"].lower()
    allowed = allowed.partition("each item ")[2] or allowed if isinstance(location[-1], int) else allowed
    return f"{where}: `{key}` has the value {_shown(problem['input'])}; allowed is {allowed}{_meaning(info)}."


def _meaning(info: FieldInfo | None) -> str:
    return f" ({info.description})" if info is not None and info.description else ""


def _shown(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _line_of(lines: Mapping[str, int], key: str) -> str:
    holders = [known for known in lines if key == known or key.startswith((f"{known}.", f"{known}["))]
    return f", line {lines[max(holders, key=len)]}" if holders else ""


def _resolve(loc: Location, data: Mapping) -> tuple[type[BaseModel] | None, FieldInfo | None, Location]:
    """The model and field behind an error location, and the location as the user would write it.

    pydantic puts the tag of a discriminated union (`kind`) into the location; it is dropped here.
    """
    model: type[BaseModel] | None = Settings
    info: FieldInfo | None = None
    node: object = data
    clean: list[str | int] = []
    for part in loc:
        if clean and isinstance(clean[-1], int) and isinstance(node, Mapping) and part == node.get("kind"):
            tagged = [m for m in _models_in(info.annotation) if part in get_args(m.model_fields["kind"].annotation)]
            model = tagged[0] if tagged else None
            continue
        if part == "[key]":
            continue
        clean.append(part)
        node = _child(node, part)
        if isinstance(part, str) and model is not None:
            holder, field = model, model.model_fields.get(part)
            if field is None:
                return holder, (info if clean[:-1] else None), tuple(clean)
            info = field
            inner = _models_in(field.annotation)
            model = inner[0] if inner else None
            if part is loc[-1]:
                return holder, info, tuple(clean)
    return model, info, tuple(clean)


def _child(node: object, part: str | int) -> object:
    if isinstance(node, Mapping):
        return node.get(part)
    if isinstance(node, list) and isinstance(part, int) and part < len(node):
        return node[part]
    return None


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def allowed_values(info: FieldInfo) -> str:
    """The values that a field takes, in words: `an integer from 1 to 64`, `one of "auto", "cpu"`."""
    return _allowed(info.annotation, info.metadata)


_KINDS = {int: "an integer", float: "a number", bool: "true or false", str: "text in quotes"}


def _allowed(annotation: object, metadata: list) -> str:
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(f'"{value}"' for value in get_args(annotation))
    arguments = [argument for argument in get_args(annotation) if argument is not type(None)]
    if get_origin(annotation) in (Union, type(int | None)) and len(arguments) > 1 and not _models_in(annotation):
        return " or ".join(_allowed(*_unpack(argument)) for argument in arguments)
    if get_origin(annotation) in (Union, type(int | None)) and len(arguments) == 1:
        inner, extra = _unpack(arguments[0])
        return _allowed(inner, [*metadata, *extra])
    if get_origin(annotation) is tuple:
        inner, extra = _unpack(arguments[0])
        return f"a list, each item {_allowed(inner, extra)}"
    if get_origin(annotation) is dict:
        return "a table of names and " + _allowed(*_unpack(arguments[1]))
    kind = _KINDS.get(annotation, "a table") if isinstance(annotation, type) else "a table"
    if annotation is not None and getattr(annotation, "__name__", "") == "date":
        kind = 'a date such as "2026-01-31"'
    return kind + _bounds(metadata)


def _unpack(annotation: object) -> tuple[object, list]:
    """An `Annotated` type as the bare type and its constraints."""
    if not hasattr(annotation, "__metadata__"):
        return annotation, []
    metadata: list = []
    for item in annotation.__metadata__:
        metadata += item.metadata if isinstance(item, FieldInfo) else [item]
    return annotation.__origin__, metadata


def _bounds(metadata: list) -> str:
    # "from 1 to 64", but "above 0.0, at most 1.0"
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below", "pattern": "that matches"}
    found = {}
    for item in metadata:
        for name in words:
            value = getattr(item, name, None)
            if value is not None:
                found[name] = value
        length = getattr(item, "min_length", None)
        if length:
            found["min_length"] = length
    if "gt" in found:
        words["le"] = "at most"
    parts = [f"{words[name]} {found[name]}" for name in words if name in found]
    if "min_length" in found and "pattern" not in found:
        parts.append("that is not empty")
    joint = ", " if "gt" in found or "lt" in found else " "
    return (" " if parts else "") + joint.join(parts)
