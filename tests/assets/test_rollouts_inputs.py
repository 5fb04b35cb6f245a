"""What the search of a night is given beside problems, and what makes its rows stale."""

import pytest

from assets.evaluation import sampling_config
from assets.rollouts import corpus_of, sections_of
from pipelines.config import RolloutsConfig, Settings
from pipelines.reasoning.solve import CRITIC_GUIDED


def make_settings(tmp_path, recipe, **sections):
    return Settings.model_validate({"root": tmp_path, "rollouts": {"recipe": recipe}, **sections})


@pytest.mark.parametrize(
    ("recipe", "wanted"),
    [
        ("puct", []),
        ("mcts_self_refine", ["reviewer"]),
        ("retrieval_planner", ["retrieval"]),
        ("one_of_mine", ["reviewer", "retrieval"]),
    ],
)
def test_only_the_sections_that_a_recipe_needs_make_its_rows_stale(tmp_path, recipe, wanted):
    settings = make_settings(tmp_path, recipe)
    known = {"reviewer": settings.critiques.agents[0], "retrieval": settings.retrieval}
    assert list(sections_of(settings)[2:]) == [known[name] for name in wanted]


def test_the_parameters_of_the_nights_recipe_do_not_reach_the_search_of_the_report(tmp_path):
    own = {"recipe": "alphallm", "parameters": {"num_rollouts": 2}, "temperature": 0.5}
    settings = Settings.model_validate({"root": tmp_path, "rollouts": own})
    sampling = sampling_config(settings, settings.reports)
    assert (sampling.parameters, sampling.temperature) == ({}, 0.5)
    assert CRITIC_GUIDED.with_parameters(sampling.exploration, None, sampling.parameters).params is None


def test_the_corpus_is_read_from_the_workspace_where_the_recipe_looks_things_up(tmp_path):
    (tmp_path / "docs.jsonl").write_text('{"id": "a", "text": "the cat"}\n')
    settings = make_settings(tmp_path, "retrieval_planner", retrieval={"corpus": "docs.jsonl"})
    assert [one.document_id for one in corpus_of(settings, settings.rollouts).documents] == ["a"]
    assert corpus_of(settings, RolloutsConfig(recipe="puct")) is None
    assert corpus_of(make_settings(tmp_path, "retrieval_planner"), settings.rollouts) is None
