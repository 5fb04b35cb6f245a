import importlib

import pytest

import sql
from pipelines.catalogue import METHODS
from pipelines.tables import SCHEMAS


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_every_path_of_a_method_resolves(method):
    module, _, name = method.function.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))
    assert {*method.reads, *method.writes} <= set(SCHEMAS)
    assert all(field.description for field in method.params.model_fields.values())
    if method.query is not None:
        assert method.query in sql.names()
