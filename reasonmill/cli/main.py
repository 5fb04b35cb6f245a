"""The command `reasonmill`: assembles the command groups and turns explained errors into exit code 1.

Only typer and small modules are imported here, so that `reasonmill --help` answers at once.
"""

import os
import sys
import warnings
from typing import Annotated

import typer

from pipelines.errors import DatasetWarning, ReasonmillError
from pipelines.redaction import redacted
from reasonmill.cli import config, dataset_formats, demo, show, store
from reasonmill.cli.apply import ApplyCommand, apply
from reasonmill.cli.critic import critic_app
from reasonmill.cli.dataset_diff import diff
from reasonmill.cli.dataset_lineage import lineage
from reasonmill.cli.dataset_push import push
from reasonmill.cli.dataset_rebuild import rebuild
from reasonmill.cli.dataset_review import review_app
from reasonmill.cli.datasets import datasets_app
from reasonmill.cli.doctor import doctor
from reasonmill.cli.estimate import estimate
from reasonmill.cli.nights import nights_app
from reasonmill.cli.prove import prove
from reasonmill.cli.sql import sql
from reasonmill.cli.trees import import_trees, tree
from reasonmill.cli.yields import yields

app = typer.Typer(
    help="Makes reasoning data for language models: problems in, datasets and a trained critic out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a defect keeps its plain traceback
    add_completion=False,
)
datasets_app.command()(diff)
datasets_app.command()(lineage)
datasets_app.command()(rebuild)
datasets_app.command()(push)
app.add_typer(config.app, name="config")
app.add_typer(datasets_app, name="datasets")
datasets_app.command()(dataset_formats.formats)
datasets_app.command()(dataset_formats.export)
datasets_app.command()(dataset_formats.mix)
datasets_app.add_typer(review_app, name="review")
app.add_typer(store.app, name="store")
app.add_typer(critic_app, name="critic")
app.add_typer(nights_app, name="nights")
app.command()(demo.demo)
app.command()(demo.materialize)
app.command()(estimate)
app.command()(prove)
app.command()(sql)
app.command(cls=ApplyCommand)(apply)
app.command()(tree)
app.command()(import_trees)
app.command()(show.methods)
app.command()(show.recipes)
app.command()(yields)
app.command()(doctor)


@app.callback()
def choose_config(
    config_file: Annotated[
        str | None, typer.Option("--config", "-c", metavar="FILE", help="reasonmill.toml, or the folder that holds it")
    ] = None,
) -> None:
    """The chosen file also reaches the processes that a command starts, through the environment."""
    if config_file is not None:
        os.environ["REASONMILL_CONFIG"] = os.path.abspath(config_file)


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 an explained error, 2 wrong usage, 130 interrupted."""
    warnings.formatwarning = _formatted
    try:
        app()
    except ReasonmillError as error:
        sys.stderr.write(f"{redacted(str(error))}\n")
        sys.exit(1)


def _formatted(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Our warnings as a sentence, those of libraries as Python shows them."""
    if issubclass(category, DatasetWarning):
        return f"warning: {redacted(str(message))}\n"
    return _format_of_python(message, category, filename, lineno, line)


_format_of_python = warnings.formatwarning


if __name__ == "__main__":
    main()
