"""What Mutual-Taught compares with, and a second night that uses all that the first one left: on a scripted night."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scripted_night import NIGHT, ScriptedServices
from test_rebuild import session_from

from assets.critics import examples_of
from assets.policy_shift import earlier_policy
from assets.rebuild import rebuild_version
from assets.resources import prompts_of
from assets.run import materialize_night
from pipelines.config import Settings
from pipelines.datasets.published import read_version
from pipelines.datasets.review import READ, queue_lines, queued, read_reviews, rollouts_of_set, store_reviews
from pipelines.lake import Lake
from pipelines.preference_pairs import PairTables, make_pairs
from pipelines.warehouse import Warehouse

SECOND = "2026-01-03"


def copied(night, root: Path, **changes: dict) -> Settings:
    """The workspace of the night in another place, with some keys changed."""
    shutil.copytree(night.settings.root, root)
    dumped = night.settings.model_dump(mode="json", exclude={"root"})
    for section, values in changes.items():
        dumped[section] |= values
    return Settings.model_validate({"root": root, **dumped})


def column_set(table: pa.Table, name: str, value: str) -> pa.Table:
    column = pa.array([value] * table.num_rows, pa.string())
    return table.set_column(table.schema.get_field_index(name), name, column)


def rewritten(lake: Lake, table: str, night: str, **values: str) -> None:
    """A night of a table as another night, with some columns set."""
    rows = lake.read(table, NIGHT)
    for name, value in ({"night": night} | values).items():
        rows = column_set(rows, name, value)
    lake.write(table, rows, partition=night)


@pytest.mark.slow
def test_another_scorers_samples_of_the_policy_before_are_scored_again_by_tonights_critics(night, tmp_path):
    """The second night is the first one under another policy's name: the same texts must get the same scores."""
    settings = copied(night, tmp_path / "workspace", preference_pairs={"methods": [{"method": "mutual_taught"}]})
    lake = Lake(settings.lake_url)
    for table in ("rollouts", "step_scores"):
        rewritten(lake, table, SECOND, **({"policy_version": "updated"} if table == "rollouts" else {}))
    tables = {name: lake.read(name, SECOND) for name in ("rollouts", "step_scores")}
    compared = (lake.read("problems"), tables["rollouts"], tables["step_scores"])
    same = earlier_policy(lake, settings, *compared, SECOND)
    rewritten(lake, "step_scores", NIGHT, scorer_version="another")
    again = earlier_policy(lake, settings, *compared, SECOND)
    assert set(again.scores["scorer_version"].to_pylist()) == set(tables["step_scores"]["scorer_version"].to_pylist())
    assert again.lineage[f"rollouts/{NIGHT}"] == lake.generation("rollouts", NIGHT)
    assert pc.all(again.rollouts["group_id"].is_valid()).as_py() and again.rollouts.num_rows > 0

    def scores(of: pa.Table) -> dict[tuple[str, int], float]:
        shared = set(again.rollouts["rollout_id"].to_pylist())
        return {(row["rollout_id"], row["step"]): row["score"] for row in of.to_pylist() if row["rollout_id"] in shared}

    assert scores(again.scores) == pytest.approx(scores(same.scores))
    pairs = PairTables(
        compared[0], lake.read("search_nodes", NIGHT), *compared[1:],
        earlier_rollouts=again.rollouts, earlier_scores=again.scores,
    )  # fmt: skip
    assert make_pairs(pairs, settings.preference_pairs, SECOND).num_mined == {}  # equal texts are no preference


@pytest.mark.slow
def test_a_second_night_learns_from_people_replays_the_first_and_is_made_again_byte_for_byte(night, tmp_path):
    settings = copied(
        night, tmp_path / "workspace", training_sets={"replay_share": 0.4, "min_step_score": 0.0},
        replay={"min_step_score": 0.0, "max_pass_rate": 1.0}, rollouts={"seed": 1},
    )  # fmt: skip
    lake = Lake(settings.lake_url)
    chosen = rollouts_of_set(read_version(night.summary.dataset_path), "rl_groups")[:6]
    with Warehouse(lake, READ) as warehouse:
        lines = queue_lines(warehouse, queued({"rl_groups": chosen}))
        labelled = [line | {"first_error_step": index % 2 - 1} for index, line in enumerate(lines)]
        (queue := tmp_path / "queue.jsonl").write_text("\n".join(map(json.dumps, labelled)))
        reviews, _ = read_reviews(queue, warehouse, "ann", "2026-01-02")
    assert store_reviews(lake, reviews).num_stored == 6
    summary = materialize_night(settings, SECOND, services=ScriptedServices(settings))
    version = read_version(summary.dataset_path)
    assert any(key.startswith("human_labels/") for key in version.manifest["earlier_generations"])
    assert pc.any(pc.equal(lake.read("sft", SECOND)["origin"], "replay")).as_py()
    assert all("human_labels" in one for one in lake.read("critics", SECOND)["data_version"].to_pylist())
    made = rebuild_version(
        version, settings, tmp_path / "again", open_session=session_from(settings.response_store_path)
    )
    assert [file.path for file in made.files if not file.is_same] == []
    assert made.num_model_calls == 0
    assert made.version.manifest["models"] == version.manifest["models"]  # the critic was trained to the same weights


@pytest.mark.slow
def test_a_reward_model_of_pairs_begins_with_siblings_and_goes_on_with_the_pairs_of_the_night_before(night, tmp_path):
    settings = copied(night, tmp_path / "workspace", process_critic={"labels": "policy_shift"})
    lake, verify_prompt = Lake(settings.lake_url), prompts_of(settings).verify_prompt
    config, examples, earlier = examples_of(lake, settings.process_critic, verify_prompt, NIGHT)
    assert (config.labels, earlier) == ("siblings", {}) and examples.num_pairs > 0
    config, examples, earlier = examples_of(lake, settings.process_critic, verify_prompt, SECOND)
    ranked = pc.equal(lake.read("preference_pairs", NIGHT)["kind"], "rollout")
    assert config.labels == "policy_shift" and examples.num_pairs == pc.sum(ranked).as_py() > 0
    assert earlier == {f"preference_pairs/{NIGHT}": lake.generation("preference_pairs", NIGHT)}
    shutil.rmtree(tmp_path / "workspace" / "checkpoints")
    run = materialize_night(settings, NIGHT, selection="process_critic", services=ScriptedServices(settings))
    assert run.success and {row["kind"] for row in lake.read("critics", NIGHT).to_pylist()} == {"preference"}
