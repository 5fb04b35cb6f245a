"""Problems that share words with a benchmark stay out of the training sets where that is asked for."""

import json
import shutil
from pathlib import Path

import pytest
from scripted_night import NIGHT, ScriptedServices

from assets.run import materialize_night
from pipelines.config import Settings
from pipelines.datasets.versions import resolve
from pipelines.errors import ConfigError
from pipelines.lake import Lake
from pipelines.tables import TRAINING_SETS

SETS = "sft,preference,stepwise,prompts,rl_groups,published_version"


def sets_again(night, folder: Path, benchmarks: tuple[str, ...]) -> Settings:
    """The night's sets made again without what overlaps with the files, in a copy of its workspace."""
    for part in ("lake", "checkpoints"):
        shutil.copytree(night.settings.root / part, folder / part)
    sections = {
        "training_sets": night.settings.training_sets.model_copy(update={"leave_out_overlaps": True}),
        "publishing": night.settings.publishing.model_copy(update={"benchmarks": benchmarks}),
    }
    settings = night.settings.model_copy(update={"root": folder, **sections})
    materialize_night(settings, NIGHT, selection=SETS, services=ScriptedServices(settings))
    return settings


def test_problems_that_a_benchmark_has_give_no_row_to_any_set_and_the_certificate_says_so(tmp_path, night):
    before = {name: night.lake.read(name)["problem_id"].to_pylist() for name in TRAINING_SETS}
    taken = before["sft"][0]
    assert all(taken in ids for ids in before.values())
    (statement,) = [row["prompt"] for row in night.lake.read("problems").to_pylist() if row["problem_id"] == taken]
    (tmp_path / "bench.jsonl").write_text(
        "".join(json.dumps({"question": text}) + "\n" for text in (statement, "one two three four five six seven"))
    )

    settings = sets_again(night, tmp_path, ("bench.jsonl",))

    lake = Lake(settings.lake_url)
    for name, ids in before.items():
        assert lake.read(name)["problem_id"].to_pylist() == [one for one in ids if one != taken], name
    certified = resolve(settings.datasets_url, settings.publishing.name).manifest["contamination"]
    of_file = next(test for test in certified["by_words"] if test["items"][0]["name"] == "bench.jsonl")
    assert {counts["num_contaminated"] for counts in of_file["sets"].values()} == {0}


def test_leaving_out_without_a_benchmark_is_refused(tmp_path, night):
    with pytest.raises(ConfigError, match=r"needs test items: name files of them in publishing\.benchmarks"):
        sets_again(night, tmp_path, ())
