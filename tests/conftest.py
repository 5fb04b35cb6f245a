"""Shared by all tests: order (fast first, real engines last) and no configuration from outside."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

DATA = Path(__file__).parent / "data"

# No test asserts a time: a loaded machine must not fail a property
settings.register_profile("reasonmill", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("reasonmill")


def pytest_configure() -> None:
    """`make test` has the user's Dagster instance in its environment; the tests' runs have no place there."""
    os.environ.pop("DAGSTER_HOME", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests run first, so that a plain mistake shows before an engine has started."""
    items.sort(
        key=lambda item: (item.get_closest_marker("vllm") is not None, item.get_closest_marker("slow") is not None)
    )


@pytest.fixture(autouse=True)
def _no_configuration_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REASONMILL_CONFIG", raising=False)


@pytest.fixture
def data_dir() -> Path:
    """The folder with the small samples."""
    return DATA
