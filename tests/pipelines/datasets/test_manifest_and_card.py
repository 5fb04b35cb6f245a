"""What a version says of itself: counted where it can be, null where it cannot, escaped where others wrote it."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset
from published_worlds import make_version

from pipelines.config import PublishingConfig, Settings
from pipelines.datasets.card_text import card_text
from pipelines.datasets.commit import commit_of, source_commit
from pipelines.datasets.figures import OVERVIEW, on_policy_shares
from pipelines.datasets.formats import format_named
from pipelines.datasets.formats.export import export
from pipelines.datasets.manifest import (
    SOURCE_FOLDERS,
    RunInfo,
    earlier_generations,
    earlier_is_complete,
    seeds_in,
)
from pipelines.datasets.published import PublishedVersion, version_files
from pipelines.errors import SourceError
from pipelines.inference.session import model_folder
from pipelines.inference.tokens import Tokenizer
from pipelines.lake import Lake
from pipelines.publishing import publish
from pipelines.rows import rows_to_table

NIGHT = "2026-11-03"
LONG = "one two three four five six seven"
ROWS = {
    "problems": [
        {"problem_id": "p1", "split": "train", "prompt": LONG, "difficulty": 1, "is_evaluation": False},
        {"problem_id": "p2", "split": "train", "prompt": "1+2", "difficulty": 2, "is_evaluation": False},
        {"problem_id": "h1", "split": "held_out", "prompt": "six seven eight", "is_evaluation": True},
        {"problem_id": "h2", "split": "held_out", "prompt": f"zero {LONG} eight", "is_evaluation": False},
    ],
    "rollouts": [
        {"rollout_id": "r1", "problem_id": "p1", "group_id": "g", "policy_version": "d1", "outcome_reward": 1.0,
         "steps": ["a", "b"]},
        {"rollout_id": "r2", "problem_id": "p2", "group_id": "g2", "policy_version": "d0", "outcome_reward": 0.0,
         "steps": ["a"]},
    ],
    "consistency_results": [
        {"rollout_id": "r1", "method": "prof", "kept": True, "score": 0.5},
        {"rollout_id": "r2", "method": "prof", "kept": False, "reason": "low|<b>consistency", "score": 0.1},
        {"rollout_id": "r3", "method": "prof", "kept": False, "reason": "failed"},
        {"rollout_id": "r4", "method": "prof", "kept": False, "reason": "failed"},
    ],
    "step_scores": [{"rollout_id": "r1", "step": 0, "source": "critic", "scorer_version": "folds-1", "score": 0.5}],
    "token_usage": [{"problem_id": "p1", "stage": "samples", "num_requests": 3, "prompt_tokens": 30,
                     "completion_tokens": 7}],
    "sft": [
        {"prompt": f"<solve>{LONG}", "completion": "x", "problem_id": "p1", "rollout_id": "r1", "origin": "search"},
        {"prompt": f"<solve>{LONG}", "completion": "y", "problem_id": "p1", "rollout_id": "r2", "origin": "search"},
        {"prompt": "<solve>1+2", "completion": "z", "problem_id": "p2", "rollout_id": "gone", "origin": "search"},
    ],
    "rl_groups": [
        {"rollout_id": "r1", "problem_id": "p1", "group_id": "g", "prompt_token_ids": [1, 2], "policy_version": "d1",
         "completion_token_ids": [3, 4, 5], "loss_weight": 1.0},
        {"rollout_id": "r2", "problem_id": "p2", "group_id": "g", "prompt_token_ids": [1], "policy_version": "d0",
         "completion_token_ids": [3], "loss_weight": 1.0},
    ],
}  # fmt: skip
INFO = RunInfo(engine="vllm 1", models={"policy": "d1"}, code_digest="c0de")


def lake_of(settings: Settings) -> Lake:
    lake = Lake(settings.lake_url)
    for table, rows in ROWS.items():
        partition = "all" if table == "problems" else NIGHT
        rows = rows if table == "problems" else [row | {"night": NIGHT} for row in rows]
        lake.write(table, rows_to_table(table, rows), partition=partition, lineage={"critics/2026-11-02": "1"})
    return lake


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> PublishedVersion:
    settings = Settings(root=tmp_path_factory.mktemp("workspace"), publishing=PublishingConfig(name="tiny"))
    return publish(settings, lake_of(settings), NIGHT, ["sft", "rl_groups"], INFO)


def test_tokens_are_those_of_the_ids_a_set_carries_or_of_its_texts_by_the_policys_tokenizer(version):
    sets = version.manifest["sets"]
    assert sets["rl_groups"]["tokens"] == {
        "num_prompt_tokens": 3, "num_completion_tokens": 4, "tokenizer": "token ids of the rows",
    }  # fmt: skip
    found = Tokenizer.load(model_folder("starter"))
    prompts = [row["prompt"] for row in ROWS["sft"]]
    assert sets["sft"]["tokens"] == {
        "num_prompt_tokens": sum(len(found.encode(prompt)) for prompt in prompts),
        "num_completion_tokens": sum(len(found.encode(text)) for text in "xyz"),
        "tokenizer": "starter",
    }
    num = sum(sets["sft"]["tokens"][f"num_{side}_tokens"] for side in ("prompt", "completion"))
    assert version.manifest["num_tokens"] == 7 + num


def test_tokens_that_are_not_counted_are_null_for_a_named_reason(tmp_path):
    sets = {}
    changes = {"many": {"publishing": {"max_counted_rows": 2}}, "gone": {"policy": {"model": "./no-such-model"}}}
    for name, of in changes.items():
        settings = Settings.model_validate({"root": tmp_path / name, **of})
        made = publish(settings, lake_of(settings), NIGHT, ["sft", "rl_groups"], INFO)
        sets[name] = made.manifest["sets"]["sft"]
        assert made.manifest["num_tokens"] is None and "not counted: " in card_text(made.manifest)
    assert sets["many"]["tokens"] is sets["gone"]["tokens"] is None
    assert sets["many"]["tokens_reason"] == "3 rows are above publishing.max_counted_rows = 2"
    assert sets["gone"]["tokens_reason"] == "the tokenizer of the policy ./no-such-model could not be read"


def test_rows_are_counted_by_the_model_that_wrote_them_as_far_as_it_is_known(version):
    sets = version.manifest["sets"]
    assert sets["sft"]["policies"] == {"d0": 1, "d1": 1}
    assert on_policy_shares(version.manifest) == {"sft": 1 / 3, "rl_groups": 0.5}


def test_replayed_rows_are_counted_by_their_own_model_and_lower_the_on_policy_share(tmp_path):
    settings = Settings(root=tmp_path)
    lake = lake_of(settings)
    old = {"prompt": "<solve>1+2", "completion": "old", "problem_id": "p2", "rollout_id": "r0", "origin": "replay"}
    replay = {"rollout_id": "r0", "policy_version": "d0", "steps": ["old"], "source_night": "2026-11-01"}
    for table, rows in (("sft", [ROWS["sft"][0], old]), ("replay", [replay])):
        lake.write(table, rows_to_table(table, [row | {"night": NIGHT} for row in rows]), partition=NIGHT)
    manifest = publish(settings, lake, NIGHT, ["sft"], INFO).manifest
    assert manifest["sets"]["sft"]["policies"] == {"d0": 1, "d1": 1}
    assert on_policy_shares(manifest) == {"sft": 0.5}


def test_filters_have_their_yields_by_reason(version):
    assert version.manifest["filters"] == {"prof": {"kept": 1, "removed": {"failed": 2, "low|<b>consistency": 1}}}


def test_seeds_critics_cost_and_the_stack_are_told(version):
    manifest = version.manifest
    assert manifest["seeds"]["rollouts.seed"] == manifest["configuration"]["rollouts"]["seed"]
    assert dict(seeds_in({"a": {"seed": 3, "b": 1}, "seed": 0})) == {"a.seed": 3, "seed": 0}
    assert manifest["critic"]["critics_of"] == "2026-11-02"
    assert manifest["critic"]["scorers"] == [{"source": "critic", "scorer_version": "folds-1", "num_steps": 1}]
    assert manifest["generated"]["samples"]["completion_tokens"] == 7
    assert {"python", "pyarrow", "duckdb"} <= set(manifest["stack"])


def test_the_certificate_says_how_many_rows_were_tested_and_how_many_share_words_with_what_is_held_out(version):
    """The prompt of p1 is seven words, all of them in a row in h2; that of p2 is too short, like h1."""
    certificate = version.manifest["contamination"]
    (test,) = certificate["by_words"]
    assert [(item["num_items"], item["num_too_short"]) for item in test["items"]] == [(2, 1)]
    assert test["sets"]["rl_groups"] == {"num_rows": 2, "num_tested": 1, "num_contaminated": 1}
    assert certificate["by_problem"]["sft"] == {"num_held_out": 0, "num_evaluation": 0, "num_unknown": 0}


def test_the_statement_is_tested_and_not_the_template_round_it_and_rows_of_unknown_problems_are_counted(tmp_path):
    """`<solve>` counts as a word: with it, five words would be a sixth, long enough and equal to nothing."""
    settings = Settings(root=tmp_path)
    lake = Lake(settings.lake_url)
    short = "93+6-6-6-3"
    problems = [{"problem_id": "p", "split": "train", "prompt": short, "is_evaluation": False},
                {"problem_id": "h", "split": "held_out", "prompt": short, "is_evaluation": False},
                {"problem_id": "l", "split": "held_out", "prompt": LONG, "is_evaluation": False}]  # fmt: skip
    rows = {
        "sft": [{"prompt": f"<solve>{text}", "problem_id": problem_id}
                for text, problem_id in ((short, "p"), (short, "gone"), (LONG, "gone"), (LONG, None))],
        "rl_groups": [{"problem_id": name, "prompt_token_ids": [1], "completion_token_ids": [2]}
                      for name in ("p", "gone")],
    }  # fmt: skip
    lake.write("problems", rows_to_table("problems", problems), partition="all")
    for name, of_set in rows.items():
        lake.write(name, rows_to_table(name, [row | {"night": NIGHT} for row in of_set]), partition=NIGHT)
    manifest = publish(settings, lake, NIGHT, list(rows), INFO).manifest
    found = manifest["contamination"]
    assert found["by_words"][0]["sets"] == {
        "rl_groups": {"num_rows": 2, "num_tested": 1, "num_contaminated": 1},
        "sft": {"num_rows": 4, "num_tested": 4, "num_contaminated": 3},  # of an unknown problem, its own prompt
    }
    assert found["by_problem"] == {
        "rl_groups": {"num_held_out": 0, "num_evaluation": 0, "num_unknown": 1},
        "sft": {"num_held_out": 0, "num_evaluation": 0, "num_unknown": 3},
    }
    assert "The problems of **4** rows are not in the table of problems" in card_text(manifest)


def test_a_benchmark_of_the_users_is_tested_too_and_one_that_is_not_there_stops_the_publication(tmp_path):
    (tmp_path / "bench.jsonl").write_text(json.dumps({"q": LONG}) + "\n")
    publishing = PublishingConfig(name="tiny", benchmarks=("bench.jsonl",), benchmark_field="q")
    settings = Settings(root=tmp_path, publishing=publishing)
    lake = lake_of(settings)
    tests = publish(settings, lake, NIGHT, ["rl_groups"], INFO).manifest["contamination"]["by_words"]
    assert [test["items"][0]["name"] for test in tests] == ["held-out problems", "bench.jsonl"]
    assert tests[1]["sets"]["rl_groups"]["num_contaminated"] == 1
    (tmp_path / "bench.jsonl").unlink()
    with pytest.raises(SourceError, match="bench"):
        publish(settings, lake, NIGHT, ["sft"], INFO)


def test_nothing_but_the_time_differs_between_two_publications(version, tmp_path):
    settings = Settings(root=tmp_path, publishing=PublishingConfig(name="tiny"))
    again = publish(settings, lake_of(settings), NIGHT, ["sft", "rl_groups"], INFO)
    timed = {"created_at", "upstream_generations", "manifest_sha256"}
    assert {key: value for key, value in again.manifest.items() if key not in timed} == {
        key: value for key, value in version.manifest.items() if key not in timed
    }


def lake_with(folder: Path, lineages: dict[str, dict[str, str]]) -> Lake:
    """A lake whose tables have these lineages: of NIGHT, problems of all nights."""
    lake = Lake(folder)
    for table, lineage in lineages.items():
        lake.write(table, rows_to_table(table, []), partition="all" if table == "problems" else NIGHT, lineage=lineage)
    return lake


def test_what_a_night_was_made_from_in_other_nights_is_what_its_tables_say(tmp_path):
    lake = lake_with(tmp_path, {
        "problems": {"new_problems/2026-11-01": "1", "new_problems/2026-11-09": "2"},
        "rollouts": {f"problems/{NIGHT}": "0", "critics/2026-11-01": "3", "critic_promotions/2026-11-01": "4",
                     "engine": "vllm 1"},
        "step_scores": {f"rollouts/{NIGHT}": "5", "critics/2026-11-01": "3", "critic_promotions/2026-11-01": "4",
                        f"critic_promotions/{NIGHT}": "6"},
        "replay": {"rollouts/2026-11-02": "7"},
        "critics": {"human_labels/2026-11-03": "8"},
    })  # fmt: skip
    assert earlier_generations(lake, NIGHT) == {
        "new_problems/2026-11-01": "1", "critics/2026-11-01": "3", "critic_promotions/2026-11-01": "4",
        f"critic_promotions/{NIGHT}": "6", "rollouts/2026-11-02": "7", "human_labels/2026-11-03": "8",
    }  # fmt: skip
    assert earlier_is_complete(lake, NIGHT)


def test_problems_that_a_later_night_posed_count_where_the_night_drew_from_them(tmp_path):
    lake = lake_with(tmp_path, {"problems": {"new_problems/2026-11-09": "2", f"new_problems/{NIGHT}": "1"}})
    drawn = {"problems/all": lake.generation("problems")}
    lake.write("rollouts", rows_to_table("rollouts", []), partition=NIGHT, lineage=drawn)
    assert earlier_generations(lake, NIGHT) == {"new_problems/2026-11-09": "2"}


def test_critics_of_the_night_itself_need_no_promotion(tmp_path):
    own = {f"critics/{NIGHT}": "1", f"critic_promotions/{NIGHT}": "2"}
    assert earlier_generations(lake_with(tmp_path, {"step_scores": own}), NIGHT) == {}


def test_lineages_of_before_promotions_were_named_are_not_complete(tmp_path):
    assert not earlier_is_complete(lake_with(tmp_path, {"step_scores": {"critics/2026-11-01": "3"}}), NIGHT)
    assert earlier_is_complete(lake_with(tmp_path / "own", {"step_scores": {f"critics/{NIGHT}": "3"}}), NIGHT)


def test_a_version_names_the_commit_of_its_source_unless_it_was_made_by_another_one(version, tmp_path):
    assert version.manifest["code_commit"] is None  # INFO names another digest
    assert "| commit | not recorded |" in (version.path / "README.md").read_text()
    settings = Settings(root=tmp_path, publishing=PublishingConfig(name="tiny"))
    made = publish(settings, lake_of(settings), NIGHT, ["sft"])
    assert commit_of(made.manifest) == source_commit(SOURCE_FOLDERS)
    assert f"| commit | {commit_of(made.manifest) or 'not recorded'} |" in (made.path / "README.md").read_text()


def test_the_card_has_a_picture_the_sets_and_a_way_to_load_each(version):
    text = (version.path / "README.md").read_text()
    assert f"]({OVERVIEW})" in text and (version.path / OVERVIEW).read_bytes().startswith(b"\x89PNG")
    assert [file.path for file in version_files(version.manifest) if not file.set_name] == [OVERVIEW]
    assert "SFTTrainer" in text and "behaviour_logprobs" in text and "DPOTrainer" not in text
    tokens = version.manifest["sets"]["sft"]["tokens"]
    assert "| `rl_groups` | 2 | 3 + 4 |" in text
    assert f"| `sft` | 3 | {tokens['num_prompt_tokens']} + {tokens['num_completion_tokens']} |" in text
    assert "the tokenizer of `starter`" in text
    assert "| `prof` | 4 | 1 | 25.0% |" in text
    assert yaml.safe_load(text.split("---\n")[1])["configs"][0]["config_name"] == "sft"


def test_what_others_wrote_has_no_meaning_for_markdown_or_html(version):
    text = card_text(version.manifest)
    assert "low/&lt;b&gt;consistency 1" in text and "<b>" not in text


def test_the_loading_example_without_a_trainer_runs(version):
    text = card_text(version.manifest)
    block = text[text.index("import pyarrow.dataset") :].partition("```")[0]
    found: dict[str, object] = {"path": str(version.path)}
    exec(block, found)
    assert found["rows"].num_rows == pq.read_table(version.path / "sft").num_rows == 3


def test_the_card_of_a_copy_names_no_place_of_the_publishers_and_loads_from_where_the_folder_lies(
    version, tmp_path, monkeypatch
):
    text = (version.path / "README.md").read_text()
    assert str(version.path.parent) not in text
    shutil.copytree(version.path, tmp_path / version.version)
    monkeypatch.chdir(tmp_path)
    start = text.index("from datasets import load_dataset")
    found: dict[str, object] = {}
    exec(text[start : text.index("```", start)], found)
    assert found["sft"].num_rows == 3


def test_steps_and_unpaired_preferences_have_examples_that_run_as_far_as_the_trainer(tmp_path, monkeypatch):
    published = make_version(tmp_path)
    text = card_text(published.manifest)
    monkeypatch.chdir(published.path.parent)
    found: dict[str, object] = {"path": published.version, "load_dataset": load_dataset}
    exec(text[text.index('rows = load_dataset(path, "stepwise"') :].partition("```")[0], found)
    assert found["row"]["labels"] == [True, False]
    assert "--format trl_unpaired --to trl_unpaired.parquet" in text
    export(published, format_named("trl_unpaired"), Path("trl_unpaired.parquet"))
    block = text[text.index("from trl import KTOConfig") :].partition("KTOTrainer(")[0].partition("\n")[2]
    exec(block, found)
    assert found["rows"].column_names == ["prompt", "completion", "label"] and found["rows"].num_rows == 4


def test_a_version_without_any_rollout_has_panels_that_say_so(tmp_path):
    settings = Settings(root=tmp_path, publishing=PublishingConfig(name="tiny"))
    lake = Lake(settings.lake_url)
    lake.write("prompts", rows_to_table("prompts", [{"prompt": "$x_1^", "problem_id": "p"}]), partition=NIGHT)
    published = publish(settings, lake, NIGHT, ["prompts"], INFO)
    assert Path(published.path, OVERVIEW).is_file()
    assert published.manifest["filters"] == {} and published.manifest["generated"] == {}
