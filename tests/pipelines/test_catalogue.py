import importlib

import pytest

import sql
from pipelines.catalogue import METHODS, majority_answer
from pipelines.tables import SCHEMAS


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_every_path_of_a_method_resolves(method):
    module, _, name = method.function.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))
    assert {*method.reads, *method.writes} <= set(SCHEMAS)
    assert all(field.description for field in method.params.model_fields.values())
    if method.query is not None:
        assert method.query in sql.names()


def test_majority_takes_the_most_frequent_answer_and_the_earliest_of_equals():
    assert majority_answer(["4", "5", None, "5"]) == "5"
    assert majority_answer(["7", "3", "3", "7"]) == "7"
    assert majority_answer([None, None]) is None
