"""What agents said, as training rows in a published version."""

import shutil

from scripted_night import NIGHT, ScriptedServices

from assets.run import materialize_night
from pipelines.datasets.published import set_entry
from pipelines.datasets.versions import resolve
from pipelines.lake import Lake

SETS = "sft,preference,stepwise,prompts,rl_groups,published_version"


def test_critiques_join_the_published_sets_where_they_are_configured(tmp_path, night):
    for folder in ("lake", "checkpoints"):
        shutil.copytree(night.settings.root / folder, tmp_path / folder)
    (tmp_path / "prompts" / "agents").mkdir(parents=True)
    for name, text in {"judge_solution": "{prompt}\n{solution}\n", "judge_pair": "{prompt}\n{first}\n{second}"}.items():
        (tmp_path / "prompts" / "agents" / f"{name}.txt").write_text(text)
    wanted = {
        "critique_sft": ("final_critiques", "critique_records"), "critique_preference": ("judgment_pairs",),
        "judge_share": 0.25,
    }  # fmt: skip
    sets = night.settings.training_sets.model_copy(update=wanted)
    settings = night.settings.model_copy(update={"root": tmp_path, "training_sets": sets})
    materialize_night(settings, NIGHT, selection=SETS, services=ScriptedServices(settings))
    before, lake = night.lake, Lake(settings.lake_url)
    added = lake.read("sft").num_rows - before.read("sft").num_rows
    critiques = [row for row in lake.read("sft").to_pylist() if row["origin"] == "final_critiques"]
    assert added >= len(critiques) > 0
    outcomes = {row["rollout_id"]: row["outcome_reward"] for row in lake.read("rollouts").to_pylist()}
    assert all(("verdict -1" in row["completion"]) == (outcomes[row["rollout_id"]] == 1.0) for row in critiques)
    prompts = lake.read("prompts").to_pylist()
    judged = [row for row in prompts if row["family"].startswith("judge_")]
    assert len(judged) == int(0.25 * (len(prompts) - len(judged)) / 0.75 + 1e-9) > 0
    published = resolve(settings.datasets_url, settings.publishing.name)
    assert set_entry(published, "sft")["num_rows"] == lake.read("sft").num_rows
