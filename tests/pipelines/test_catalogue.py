import importlib

import pytest

import sql
from pipelines.catalogue import METHODS, method_rows, parameter_meanings, recipe_rows
from pipelines.catalogue.page import to_html
from pipelines.config import RolloutsConfig
from pipelines.search.recipes import RECIPES
from pipelines.tables import SCHEMAS


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_every_path_of_a_method_resolves(method):
    module, _, name = method.function.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))
    assert {*method.reads, *method.writes} <= set(SCHEMAS)
    assert all(field.description for field in method.params.model_fields.values())
    if method.query is not None:
        assert method.query in sql.names()


def test_every_recipe_has_a_record_with_its_paper():
    assert set(RECIPES) <= set(METHODS)
    for name, recipe in RECIPES.items():
        assert METHODS[name].arxiv is None or METHODS[name].arxiv in recipe.paper


def test_a_recipe_is_listed_with_what_holds_when_nothing_is_configured():
    rows = {row["recipe"]: row for row in recipe_rows()}
    assert list(rows) == sorted(RECIPES)
    assert rows["puct"]["parameters"] == {
        "num_simulations": 8,
        "num_candidates": 8,
        "max_depth": 12,
        "exploration": 1.0,
    }
    assert rows["tree_of_thoughts"]["parameters"]["beam_width"] == 5
    assert rows["rest_mcts"]["constants"] == {
        "roll_num_steps": 1, "roll_num_branches": 1, "roll_weight": 0.5, "unvisited_bonus": 0.9, "end_gate": 0.9,
    }  # fmt: skip
    assert rows["best_of_n"]["parameters"] == {"num_simulations": 8, "num_candidates": 8}  # no limit of steps
    assert rows["prefix_tree_values"]["parameters"] == {"group_size": 8}
    assert {key for row in rows.values() for key in row["parameters"]} <= set(RolloutsConfig.model_fields)
    assert {name for name, row in rows.items() if row["tier"] == "verified"} == {
        "puct", "uct", "rest_mcts", "best_first", "mcts_self_refine", "best_of_n",
    }  # fmt: skip


def test_the_meaning_of_a_recipes_parameter_is_the_comment_beside_it():
    meanings = parameter_meanings(RECIPES["value_guided_decoding"])
    assert meanings["eta"] == "KL weight, >= 0; 0 = the limit"
    assert all(meanings.values())
    assert parameter_meanings(RECIPES["puct"]) == {}


def test_what_is_verified_was_measured():
    assert all(method.measured for method in METHODS.values() if method.tier == "verified")


def test_the_page_shows_every_method_with_its_paper_and_escapes_all_text():
    rows = method_rows()
    page = to_html(rows)
    assert all(f'id="{row["method"]}"' in page for row in rows)
    assert "https://arxiv.org/abs/2509.03403" in page and "<script" not in page
    row = next(row for row in rows if row["method"] == "prof") | {"summary": "a < b & c"}
    alone = to_html([row])
    assert "Methods: 1. Verified: 1" in alone and "a &lt; b &amp; c" in alone
    assert all(part in alone for part in ("step_values", "num_removed", "sql/consistent_rollouts/lots.sql"))
