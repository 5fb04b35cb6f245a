"""Code versions."""

import pytest

from assets.rollouts import rollouts_assets
from assets.versions import code_version, config_digest, source_digest, workspace_digest
from pipelines.config import PairsConfig, Settings


def test_a_changed_source_file_changes_the_digest_and_an_untouched_one_does_not(tmp_path):
    (tmp_path / "filter.py").write_text("keep = 1")
    (tmp_path / "other.py").write_text("x = 1")
    before = source_digest(["filter.py"], tmp_path)
    (tmp_path / "other.py").write_text("x = 2")
    assert source_digest(["filter.py"], tmp_path) == before
    (tmp_path / "filter.py").write_text("keep = 2")
    assert source_digest(["filter.py"], tmp_path) != before


def test_a_folder_counts_its_python_sql_and_text_files_and_nothing_else(tmp_path):
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "prof.sql").write_text("select 1")
    before = source_digest(["sql"], tmp_path)
    (tmp_path / "sql" / "prof.pyc").write_text("cache")
    assert source_digest(["sql"], tmp_path) == before
    (tmp_path / "sql" / "new.sql").write_text("select 2")
    assert source_digest(["sql"], tmp_path) != before


def test_a_source_that_is_not_there_is_an_error_and_not_an_empty_digest(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.py"):
        source_digest(["gone.py"], tmp_path)


def test_equal_configurations_have_equal_digests_and_a_changed_value_another():
    assert config_digest([PairsConfig()]) == config_digest([PairsConfig(min_margin=0.2)])
    assert config_digest([PairsConfig()]) != config_digest([PairsConfig(min_margin=0.3)])


def test_the_version_string_of_a_person_comes_first():
    assert code_version("7", sources=["pipelines/errors.py"]).startswith("7-")


def test_the_users_own_prompts_are_part_of_the_version(tmp_path):
    settings = Settings(root=tmp_path)
    assert workspace_digest(settings, ["prompts"]) == ""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "solve.txt").write_text("{prompt}")
    first = workspace_digest(settings, ["prompts"])
    (tmp_path / "prompts" / "solve.txt").write_text("Solve {prompt}")
    assert first.startswith("+") and workspace_digest(settings, ["prompts"]) != first


def test_the_users_own_filter_is_part_of_the_version_of_the_filters_and_not_of_the_graders(tmp_path):
    settings = Settings.model_validate({"root": tmp_path, "extensions": {"filters": {"mine": "mine.py:keep"}}})
    assert workspace_digest(settings, ["filters"]) != ""
    assert workspace_digest(settings, ["graders"]) == ""


def test_the_corpus_is_part_of_the_version_where_the_recipe_looks_things_up(tmp_path):
    def version(recipe: str) -> str:
        settings = Settings.model_validate(
            {"root": tmp_path, "rollouts": {"recipe": recipe}, "retrieval": {"corpus": "facts.jsonl"}}
        )
        return next(iter(rollouts_assets(settings)[0].specs)).code_version

    (tmp_path / "facts.jsonl").write_text('{"id": "a", "text": "first"}')
    before = version("retrieval_planner"), version("puct")
    (tmp_path / "facts.jsonl").write_text('{"id": "a", "text": "second"}')
    after = version("retrieval_planner"), version("puct")
    assert (before[0] == after[0], before[1] == after[1]) == (False, True)


def test_every_file_of_a_corpus_folder_counts(tmp_path):
    settings = Settings.model_validate({"root": tmp_path, "retrieval": {"corpus": "notes"}})
    (tmp_path / "notes" / "deep").mkdir(parents=True)
    (tmp_path / "notes" / "deep" / "one.txt").write_text("first")
    before = workspace_digest(settings, ["corpus"])
    (tmp_path / "notes" / "two.txt").write_text("second")
    assert workspace_digest(settings, ["corpus"]) != before != ""
