"""`reasonmill config show | init | validate`, and the commented example that `init` writes.

The example is generated from the configuration models, so it cannot fall behind them; a test compares it with
`reasonmill.example.toml` in the repository.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

app = typer.Typer(help="Show, write and check the configuration.", no_args_is_help=True)

DEFAULT_WORKSPACE = "workspace"


class Preset(StrEnum):
    """Scales to start from."""

    demo = "demo"
    nightly = "nightly"


# what a nightly run on one GPU uses instead of the small defaults
NIGHTLY: Mapping[str, object] = {
    "rollouts.num_search_problems": 2000,
    "rollouts.num_simulations": 32,
    "rollouts.num_sample_problems": 4000,
    "critiques.num_rollouts": 8000,
    "process_critic.steps": 3000,
    "reports.num_problems": 1000,
    "reports.n_values": (8, 16, 32),
    "schedule.enabled": True,
}


@app.command()
def show() -> None:
    """Print the effective configuration, each key with its value and where it came from."""
    from rich.console import Console
    from rich.table import Table

    from pipelines.config import effective, load_settings

    settings = load_settings()
    table = Table("key", "value", "from", box=None, pad_edge=False)
    for key, value, origin in effective(settings):
        where = origin.removeprefix(f"{settings.root}/")
        table.add_row(key, _toml(value), where, style="dim" if origin == "default" else None)
    Console(highlight=False).print(table, markup=False)


@app.command()
def validate(
    file: Annotated[Path | None, typer.Argument(help="the file; default: the one that would be used")] = None,
) -> None:
    """Check the configuration and all that it names: recipe, filters, pairs, your own code; say what is wrong."""
    from pipelines.config import load_settings
    from pipelines.configured import check_names

    settings = load_settings(file)
    check_names(settings)
    typer.echo(f"{settings.config_file or 'The built-in configuration'} is valid.")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="the workspace folder")] = Path(DEFAULT_WORKSPACE),
    preset: Annotated[Preset, typer.Option(help="demo: minutes on two cores; nightly: hours on a GPU")] = Preset.demo,
) -> None:
    """Write a commented reasonmill.toml into a workspace folder."""
    from pipelines.config import CONFIG_NAME
    from pipelines.errors import ConfigError

    file = folder / CONFIG_NAME
    if file.exists():
        raise ConfigError(f"{file} exists already and is left as it is; name another folder, or remove the file first.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(example_toml(NIGHTLY if preset is Preset.nightly else {}), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}.") from error
    typer.echo(f"Wrote {file}. Edit it, then run: reasonmill --config {file} config validate")


def example_toml(values: Mapping[str, object] | None = None) -> str:
    """Every key with its meaning, its bounds and its default, commented out; keys of `values` are set to them."""
    from pipelines.config import Settings

    lines = [
        "# Configuration of Reasonmill. Every key is optional; the commented values are the defaults.",
        "# `reasonmill config show` prints what is in force and where it came from. Relative paths start at the folder",
        "# of this file, the workspace, where prompts, graders, filters, recipes and problem sources live too.",
    ]
    for name, info in Settings.model_fields.items():
        if name != "root":
            lines += ["", f"# {_first_line(info.annotation.__doc__)}", f"[{name}]"]
            lines += _section_lines(name, info.annotation, values or {})
    return "\n".join(lines) + "\n"


def _section_lines(section: str, model: type, values: Mapping[str, object]) -> Iterator[str]:
    from pydantic import BaseModel

    tables = []
    for key, info in model.model_fields.items():
        default = info.get_default(call_default_factory=True)
        if isinstance(default, tuple) and default and isinstance(default[0], BaseModel):
            tables.append((key, info, default))
            continue
        yield f"# {_meaning(info)}"
        dotted = f"{section}.{key}"
        if dotted in values:
            yield f"{key} = {_toml(values[dotted])}"
        else:
            yield f"# {key} = {_toml(default)}" if default is not None else f"# {key} ="
    for key, info, default in tables:
        yield f"\n# {info.description}; writing one replaces all of these:"
        for kind in dict.fromkeys(type(item) for item in default):
            yield from (f"#   {name}: {_meaning(field)}" for name, field in kind.model_fields.items())
        for item in default:
            yield f"# [[{section}.{key}]]"
            yield from (f"# {name} = {_toml(value)}" for name, value in item if value is not None)
        if section == "problems":
            yield from OWN_SOURCES


def _meaning(field: "FieldInfo") -> str:
    from pipelines.config import allowed_values

    allowed = allowed_values(field)
    return f"{field.description}" + ("" if allowed.startswith(("text", "a table")) else f"; {allowed}")


OWN_SOURCES = (
    "#",
    "# problems of yours, one JSON object per line; GSM8K's layout (answer ends in `#### 72`) needs no more:",
    "# [[problems.sources]]",
    '# kind = "jsonl"            # or "parquet"',
    '# path = "my_problems.jsonl"',
    '# prompt_field = "question"',
    '# answer_field = "answer"',
    '# id_field = "id"           # default: ids from the content',
    '# difficulty_field = "level"  # an integer; default: none',
    "# limit = 1000             # read only the first so many",
    '# grader = "number"         # number, exact, math, countdown, or one of [extensions.graders]',
    "#",
    "# problems from code of yours, a function that yields dicts with `prompt` and `reference_answer`:",
    "# [[problems.sources]]",
    '# kind = "plugin"',
    '# name = "mine"',
    '# path = "my_source.py:problems"',
)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | Path):
        escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_toml(item)}' for key, item in value.items()) + "}"
    if isinstance(value, date):
        return value.isoformat()
    return "not set" if value is None else str(value)
