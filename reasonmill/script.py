"""The installed command `reasonmill`: the command line, or one sentence where only the light client is installed."""

import sys

OURS = ("reasonmill", "pipelines", "critics", "assets", "sql")


def main() -> None:
    """Entry point; exit code 1 where a package of the command line is not installed."""
    try:
        from reasonmill.cli.main import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OURS:
            raise
        sys.stderr.write(
            f"The command `reasonmill` needs the package {error.name}, which is not installed here: only the light"
            " client is (`from reasonmill import client`). Use the project's own environment, as `make install` makes"
            " it.\n"
        )
        sys.exit(1)
    run()
