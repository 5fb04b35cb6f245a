"""The Launchpad's mirror of the pipelines' configuration."""

import dagster as dg
import pytest
from pydantic import BaseModel

from assets.definitions import build_definitions
from assets.launchpad import launchpad_config, pipeline_config
from pipelines.config import (
    ConsistencyConfig,
    ConsistencyMethodConfig,
    FileSource,
    ProblemsConfig,
    RolloutsConfig,
    Settings,
    StarterSource,
)
from pipelines.errors import ConfigError

SECTIONS = [name for name in Settings.model_fields if name != "root"]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def received(section: BaseModel, run_values: dict) -> BaseModel:
    """What an op gets when a run is launched with these values over the section's own."""
    Launchpad = launchpad_config(section)
    seen = []

    @dg.op
    def stage(config: Launchpad):
        seen.append(pipeline_config(config, type(section)))

    @dg.job
    def night():
        stage()

    night.execute_in_process(run_config={**QUIET, "ops": {"stage": {"config": run_values}}})
    return seen[0]


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_comes_back_unchanged_when_nothing_is_overridden(name):
    section = getattr(Settings(), name)
    assert received(section, {}) == section


def test_defaults_are_the_values_of_the_configuration_file_and_not_of_the_model():
    assert received(RolloutsConfig(num_simulations=3), {}).num_simulations == 3


def test_a_value_of_the_launchpad_overrides_one_field_and_leaves_the_others():
    got = received(RolloutsConfig(num_simulations=3, group_size=5), {"group_size": 7})
    assert (got.num_simulations, got.group_size) == (3, 7)


def test_a_list_of_filters_can_be_replaced_in_the_launchpad():
    got = received(ConsistencyConfig(), {"methods": [{"name": "prof", "parameters": {"num_removed": 1}}]})
    assert got.methods == (ConsistencyMethodConfig(name="prof", parameters={"num_removed": 1}),)


def test_problem_sources_of_different_kinds_are_told_apart_again():
    got = received(ProblemsConfig(), {"sources": [{"kind": "jsonl", "path": "mine.jsonl"}]})
    assert got.sources[0].path == "mine.jsonl"


def test_a_value_out_of_bounds_is_refused_with_its_field_and_value():
    config = launchpad_config(RolloutsConfig())(num_simulations=0)
    with pytest.raises(ConfigError, match=r"RolloutsConfig, num_simulations: .*greater than or equal to 1 \(got 0\)"):
        pipeline_config(config, RolloutsConfig)


def test_a_field_keeps_the_description_of_the_pipeline():
    launchpad = launchpad_config(RolloutsConfig()).model_fields["num_simulations"]
    assert launchpad.description == RolloutsConfig.model_fields["num_simulations"].description


def test_sources_with_keys_that_are_not_set_make_a_graph_that_dagster_accepts():
    source = FileSource(kind="jsonl", path="mine.jsonl")
    settings = Settings(problems=ProblemsConfig(sources=(source, StarterSource(count=5))))
    build_definitions(settings).resolve_job_def("night")
    config = launchpad_config(settings.problems)()
    assert pipeline_config(config, ProblemsConfig) == settings.problems
