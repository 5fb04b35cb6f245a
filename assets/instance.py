"""The Dagster instance of DAGSTER_HOME."""

import os

import dagster as dg

from pipelines.errors import ConfigError


def home_instance() -> dg.DagsterInstance | None:
    """The instance, to be closed by whoever asks; None without DAGSTER_HOME, ConfigError where that is no instance."""
    if not os.environ.get("DAGSTER_HOME"):
        return None
    try:
        return dg.DagsterInstance.get()
    except dg.DagsterError as error:
        raise ConfigError(
            f"DAGSTER_HOME={os.environ['DAGSTER_HOME']} cannot be used: {str(error).splitlines()[0]} "
            "`make ui` uses $PWD/dagster_home; without the variable a night runs too, and the UI does not show it."
        ) from error
