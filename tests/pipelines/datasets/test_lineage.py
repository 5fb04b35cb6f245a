"""Lineage in a lake of one pair of two leaves, one filtered sample with a critique, and one published version."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.config import PublishingConfig, Settings
from pipelines.datasets.lineage import (
    Origin,
    TableSince,
    TablesSince,
    Tracer,
    VersionUse,
    damaged_versions,
    tables_since,
    versions_with_model,
    versions_with_row,
)
from pipelines.datasets.lineage_page import to_html
from pipelines.datasets.manifest import RunInfo
from pipelines.datasets.versions import DatasetStore, PublishedVersion
from pipelines.errors import LakeError
from pipelines.inference.response_store import RequestRecord
from pipelines.lake import Lake
from pipelines.publishing import publish
from pipelines.rows import rows_to_table
from pipelines.warehouse import Warehouse

NIGHT = "2026-11-03"
RECORD = RequestRecord("q2", "answered", 1, 1_793_664_000.0, None)  # 2026-11-03T00:00:00 UTC
ROWS = {
    "problems": [
        {"problem_id": "p", "family": "arithmetic", "prompt": "1+2", "reference_answer": "3", "split": "train"}
    ],
    "search_nodes": [
        {"tree_id": "t", "node_id": 0, "problem_id": "p", "depth": 0, "step_text": ""},
        {
            "tree_id": "t",
            "node_id": 1,
            "parent_id": 0,
            "problem_id": "p",
            "depth": 1,
            "step_text": "1+2=3",
            "value": 1.0,
            "request_id": "q1",
        },
        {
            "tree_id": "t",
            "node_id": 2,
            "parent_id": 0,
            "problem_id": "p",
            "depth": 1,
            "step_text": "1+2=4",
            "value": 0.0,
            "request_id": "q1",
        },
        {
            "tree_id": "t",
            "node_id": 3,
            "parent_id": 1,
            "problem_id": "p",
            "depth": 2,
            "step_text": "#### 3",
            "request_id": "q2",
        },
        {"tree_id": "other", "node_id": 3, "parent_id": 0, "problem_id": "p", "depth": 1, "step_text": "no"},
    ],
    "rollouts": [
        {
            "rollout_id": "leaf",
            "problem_id": "p",
            "tree_id": "t",
            "leaf_node_id": 3,
            "recipe": "puct",
            "policy_id": "starter",
            "policy_version": "d1",
            "steps": ["1+2=3", "#### 3"],
            "outcome_reward": 1.0,
        },
        {
            "rollout_id": "sample",
            "problem_id": "p",
            "group_id": "g",
            "recipe": "independent_samples",
            "policy_version": "d1",
            "steps": ["<b>1+2=4"],
            "outcome_reward": 0.0,
            "request_id": "q3",
            "seed": 7,
        },
    ],
    "consistency_results": [
        {
            "rollout_id": "sample",
            "problem_id": "p",
            "method": "prof",
            "kept": False,
            "reason": "low_consistency",
            "score": -0.25,
        }
    ],
    "critiques": [{"critique_id": "c", "rollout_id": "sample", "problem_id": "p", "agent": "a", "verdict": "wrong"}],
    "verdicts": [
        {
            "rollout_id": "sample",
            "problem_id": "p",
            "verdict": "wrong",
            "confidence": 1.0,
            "critique_id": "final",
            "text": "Step 0 adds wrongly.",
        }
    ],
    "refinements": [
        {"refinement_id": "f", "rollout_id": "sample", "problem_id": "p", "critique_id": "c", "steps": ["x"]}
    ],
    "step_scores": [
        {"rollout_id": "sample", "step": 0, "source": "critic", "scorer_version": "folds-1", "score": 0.5},
        {"rollout_id": "sample", "step": 1, "source": "critic", "scorer_version": "folds-1", "score": 0.25},
    ],
    "preference_pairs": [
        {
            "pair_id": "pair",
            "problem_id": "p",
            "kind": "step",
            "method": "sibling_step_pairs",
            "chosen": "1+2=3",
            "rejected": "1+2=4",
            "margin": 1.0,
            "chosen_id": "t:1",
            "rejected_id": "t:2",
            "chosen_policy": "d1",
            "rejected_policy": "d1",
        },
        {
            "pair_id": "mixed",
            "problem_id": "p",
            "kind": "rollout",
            "chosen_id": "leaf",
            "rejected_id": "gone",
            "rejected_policy": "d0",
        },
    ],
    "sft": [{"prompt": "1+2", "completion": "1+2=3", "problem_id": "p", "rollout_id": "leaf", "origin": "search"}],
    "preference": [{"prompt": "1+2", "chosen": "a", "rejected": "b", "problem_id": "p", "pair_id": "pair"}],
}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "workspace" / "lake")
    for table, rows in ROWS.items():
        partition = "all" if table == "problems" else NIGHT
        rows = rows if table == "problems" else [row | {"night": NIGHT} for row in rows]
        critics = {"critics/2026-11-02": "00000001"} if table == "step_scores" else {"engine": "vllm 1"}
        lake.write(table, rows_to_table(table, rows), partition=partition, lineage=critics)
    return lake


@pytest.fixture
def version(lake: Lake, tmp_path: Path) -> PublishedVersion:
    settings = Settings(root=tmp_path / "workspace", publishing=PublishingConfig(name="tiny"))
    return publish(settings, lake, NIGHT, ["sft", "preference"], RunInfo(models={"policy": "d1+d2", "critic": "e"}))


def trace(lake: Lake, row_id: str, night: str | None = None) -> list[Origin]:
    with Warehouse(lake) as warehouse:
        return Tracer(warehouse, lake, {"q2": RECORD}.get, night).origins(row_id)


def named(origin: Origin) -> list[tuple[str, str]]:
    return [(source.kind, source.row_id) for source in origin.sources]


def source(origin: Origin, kind: str) -> dict[str, str]:
    return next(dict(one.facts) for one in origin.sources if one.kind == kind)


def test_a_pair_of_steps_leads_to_its_two_nodes_their_path_and_the_problem(lake):
    (pair,) = trace(lake, "pair")
    assert [(side.role, side.row_id) for side in pair.sources] == [("chosen", "t:1"), ("rejected", "t:2"), ("", "p")]
    assert named(pair.sources[0]) == [("request", "q1"), ("node", "t:0"), ("problem", "p")]
    assert dict(pair.facts)["margin"] == "1"


def test_a_node_names_the_model_that_wrote_its_tree(lake):
    (node,) = trace(lake, "t:3")
    assert dict(node.facts)["model"] == "d1"
    assert named(node)[:2] == [("request", "q2"), ("node", "t:1")]


def test_a_rollout_leads_to_filter_scorer_verdict_critique_refinement_and_request(lake):
    (sample,) = trace(lake, "sample")
    assert [kind for kind, _ in named(sample)] == [
        "problem", "decision", "scorer", "verdict", "critique", "refinement", "request",
    ]  # fmt: skip
    assert source(sample, "decision") == {"outcome": "removed: low_consistency", "score": "-0.25"}
    assert source(sample, "scorer") == {
        "source": "critic", "num_scored": "2", "lowest": "0.25", "mean": "0.375", "critics of": "2026-11-02",
    }  # fmt: skip
    assert source(sample, "request") == {
        "model": "d1", "seed": "7", "engine": "vllm 1", "status": "not in the response store",
    }  # fmt: skip


def test_a_rollout_leads_to_what_people_said_of_it(tmp_path):
    lake = Lake(tmp_path)
    rollout = {"rollout_id": "r", "problem_id": "p", "steps": ["a"], "night": NIGHT}
    review = {"review_id": "v", "rollout_id": "r", "first_error_step": 0, "reviewer": "ann", "night": NIGHT}
    lake.write("rollouts", rows_to_table("rollouts", [rollout]), partition=NIGHT)
    lake.write("human_labels", rows_to_table("human_labels", [review | {"is_blind": True}]), partition=NIGHT)
    (found,) = trace(lake, "r")
    assert source(found, "review") == {"first_error_step": "0", "reviewer": "ann", "is_blind": "True"}


def test_a_rollout_of_a_tree_leads_through_its_path_to_the_requests_in_the_store(lake):
    (leaf,) = trace(lake, "leaf")
    assert named(leaf) == [("problem", "p"), ("node", "t:0"), ("node", "t:1"), ("node", "t:3")]
    request = leaf.sources[-1].sources[0]
    assert dict(request.facts)["ended"] == "2026-11-03T00:00:00+00:00"
    assert dict(request.facts)["model"] == "d1"


def test_a_posed_problem_leads_to_the_one_it_was_made_from_and_to_the_requests_that_wrote_and_judged_it(tmp_path):
    lake = Lake(tmp_path)
    problems = [{"problem_id": name, "prompt": name} for name in ("p", "q", "r")]
    lake.write("problems", rows_to_table("problems", problems), partition="all")
    for night, made, of, others in (("2026-11-01", "q", "p", None), ("2026-11-02", "r", "q", ["q2", "q5"])):
        posed = {"candidate_id": f"n-{made}", "method": "tt_si", "source_problem_id": of, "problem_id": made,
                 "kept": True, "request_id": "q4", "request_ids": others, "night": night}  # fmt: skip
        rejected = posed | {"candidate_id": "no", "kept": False, "reason": "duplicate"}
        rows = rows_to_table("new_problems", [posed, rejected])
        lake.write("new_problems", rows, partition=night, lineage={"engine": "vllm 1"})
    (found,) = trace(lake, "r")
    (posed,) = found.sources
    assert (posed.kind, posed.row_id, dict(posed.facts)) == ("posed", "n-r", {"method": "tt_si", "night": "2026-11-02"})
    assert named(posed) == [("problem", "q"), ("request", "q4"), ("request", "q2"), ("request", "q5")]
    assert dict(posed.sources[2].facts)["engine"] == "vllm 1"
    earlier = posed.sources[0].sources[0]
    assert (posed.sources[0].role, earlier.row_id) == ("made from", "n-q")
    assert named(earlier) == [("problem", "p"), ("request", "q4")] and earlier.sources[0].sources == ()


def test_a_critique_and_a_refinement_lead_to_the_rollout_that_they_are_about(lake):
    for row_id in ("c", "f"):
        (origin,) = trace(lake, row_id)
        assert [(one.role, one.row_id) for one in origin.sources] == [("about", "sample")]


def test_the_final_critique_that_a_refinement_follows_is_the_verdicts_own(lake):
    (sample,) = trace(lake, "sample")
    assert ("verdict", "final") in named(sample)
    assert source(sample, "verdict") == {"verdict": "wrong", "confidence": "1", "text": "Step 0 adds wrongly."}
    (final,) = trace(lake, "final")
    assert (final.kind, final.row_id, dict(final.facts)["text"]) == ("verdict", "final", "Step 0 adds wrongly.")
    assert [(one.role, one.row_id) for one in final.sources] == [("about", "sample")]


def test_a_side_that_the_lake_no_longer_has_is_said_to_be_gone(lake):
    (pair,) = trace(lake, "mixed")
    assert [one.kind for one in pair.sources] == ["rollout", "row", "problem"]
    assert dict(pair.sources[1].facts) == {"status": "not in the lake", "model": "d0"}


@pytest.mark.parametrize("row_id", ["nobody", "t:99", "t:x", "t:²", "t:٣", f"t:{9**30}", "", "';drop table x"])
def test_an_id_that_names_nothing_is_an_error_that_says_which_ids_do(lake, row_id):
    with pytest.raises(LakeError, match="rollout_id, pair_id or problem_id"):
        trace(lake, row_id)


def test_an_id_of_another_night_is_not_found(lake):
    with pytest.raises(LakeError, match="of the night 2026-11-04"):
        trace(lake, "sample", night="2026-11-04")


def test_versions_are_found_by_row_by_problem_and_by_the_beginning_of_a_model_digest(version):
    def found(uses: list) -> list[tuple[str, int | None]]:
        return [(use.set_name or use.column, use.num_rows) for use in uses]

    store = DatasetStore(version.path.parent.parent)
    assert found(versions_with_row(store, "tiny", "leaf")[0]) == [("sft", 1)]
    assert found(versions_with_row(store, "tiny", "p")[0]) == [("sft", 1), ("preference", 1)]
    assert versions_with_row(store, "tiny", "q") == ([], {})
    assert found(versions_with_model(store, "tiny", "d2")) == [("policy", None)]
    assert found(versions_with_model(store, "tiny", "d1")) == [("policy", None), ("sft", 1), ("preference", 1)]
    assert versions_with_model(store, "tiny", "x") == []


def since(lake: Lake, version: PublishedVersion, row_id: str) -> TablesSince:
    store = DatasetStore(version.path.parent.parent)
    uses, _ = versions_with_row(store, "tiny", row_id)
    with Warehouse(lake) as warehouse:
        nights = Tracer(warehouse, lake, {}.get).nights(row_id)
    (found,) = tables_since(lake, store, "tiny", uses, nights)
    return found


def test_tables_behind_a_row_that_were_made_again_since_the_version_are_named_by_generation(lake, version):
    assert since(lake, version, "leaf") == TablesSince(version.version, ()) and str(since(lake, version, "leaf")) == ""
    then = lake.generation("consistency_results", NIGHT)
    kept = ROWS["consistency_results"][0] | {"kept": True, "reason": None, "night": NIGHT}
    lake.write("consistency_results", rows_to_table("consistency_results", [kept]), partition=NIGHT)
    lake.write("preference_pairs", lake.read("preference_pairs", NIGHT), partition=NIGHT)
    lake.write("problems", lake.read("problems"))  # as every night does
    lake.write("sft", lake.read("sft", NIGHT), partition=NIGHT)  # lineage does not read it
    now = lake.generation("consistency_results", NIGHT)
    assert since(lake, version, "leaf").changed == (TableSince("consistency_results", NIGHT, then, now),)
    assert f"the lake now has another generation of consistency_results/{NIGHT}." in str(since(lake, version, "leaf"))
    assert [one.table for one in since(lake, version, "pair").changed] == ["preference_pairs", "consistency_results"]
    assert since(lake, version, "p").changed == ()


def test_a_row_that_the_lake_has_lost_still_leads_to_its_versions_and_to_what_is_gone(lake, version):
    shutil.rmtree(Path(lake.root, "rollouts"))
    with Warehouse(lake) as warehouse:
        assert Tracer(warehouse, lake, {}.get).find("leaf") == []
    found = since(lake, version, "leaf")
    assert [(one.table, one.now) for one in found.changed] == [("rollouts", None)]
    assert f"no longer has rollouts/{NIGHT}" in str(found)
    html = to_html("leaf", [], [VersionUse(version.version, "sft", "rollout_id", 1)], [str(found)])
    assert "Nothing in the lake has this id." in html and f"no longer has rollouts/{NIGHT}" in html


def test_a_replayed_row_is_held_against_the_night_that_it_is_from(lake, tmp_path):
    """Of tonight's own tables nothing is behind it."""
    tonight = "2026-11-04"
    then = lake.generation("rollouts", NIGHT)
    row = ROWS["sft"][0] | {"origin": "replay", "night": tonight}
    lake.write("sft", rows_to_table("sft", [row]), partition=tonight)
    lake.write("replay", rows_to_table("replay", []), partition=tonight, lineage={f"rollouts/{NIGHT}": then})
    lake.write("rollouts", rows_to_table("rollouts", []), partition=tonight)
    settings = Settings(root=tmp_path / "workspace", publishing=PublishingConfig(name="tiny"))
    version = publish(settings, lake, tonight, ["sft"], RunInfo())
    lake.write("rollouts", rows_to_table("rollouts", []), partition=tonight)
    assert since(lake, version, "leaf").changed == ()
    lake.write("rollouts", lake.read("rollouts", NIGHT), partition=NIGHT)
    assert [(one.partition, one.then) for one in since(lake, version, "leaf").changed] == [(NIGHT, then)]


def test_a_manifest_that_names_no_tables_is_said_to_name_none(lake, version):
    manifest = {name: value for name, value in version.manifest.items() if not name.endswith("_generations")}
    del manifest["manifest_sha256"]
    (version.path / "manifest.json").write_text(json.dumps(manifest | {"format": 1}))
    assert since(lake, version, "leaf") == TablesSince(version.version, None)
    assert "does not say which tables it was made from" in str(since(lake, version, "leaf"))


def test_a_group_leads_to_its_samples_and_to_the_versions_that_have_it(lake, tmp_path):
    (group,) = trace(lake, "g")
    assert (group.kind, dict(group.facts)) == (
        "group", {"samples": "1", "graded": "1", "right": "0", "night": NIGHT},
    )  # fmt: skip
    assert [(one.role, one.kind, one.row_id) for one in group.sources] == [("sample", "rollout", "sample")]
    row = {"group_id": "g", "rollout_id": "sample", "problem_id": "p", "prompt_token_ids": [1],
           "completion_token_ids": [2], "night": NIGHT}  # fmt: skip
    lake.write("rl_groups", rows_to_table("rl_groups", [row]), partition=NIGHT)
    settings = Settings(root=tmp_path / "workspace", publishing=PublishingConfig(name="tiny"))
    version = publish(settings, lake, NIGHT, ["rl_groups"], RunInfo())
    (use,), _ = versions_with_row(DatasetStore(settings.datasets_url), "tiny", "g")
    assert (use.version, use.column, use.num_rows) == (version.version, "group_id", 1)
    assert since(lake, version, "g").changed == ()


def test_a_version_that_cannot_be_read_is_named_and_hides_no_other_one(lake, version, tmp_path):
    settings = Settings(root=tmp_path / "workspace", publishing=PublishingConfig(name="tiny"))
    other = publish(settings, lake, NIGHT, ["sft"], RunInfo())
    store = DatasetStore(version.path.parent.parent)
    (version.path / version.manifest["sets"]["sft"]["files"][0]["path"]).write_bytes(b"no Parquet")
    uses, damaged = versions_with_row(store, "tiny", "leaf")
    assert [use.version for use in uses] == [other.version] and list(damaged) == [version.version]
    (version.path / "manifest.json").write_text("{")
    uses, damaged = versions_with_row(store, "tiny", "leaf")
    assert [use.version for use in uses] == [other.version] and "it is not JSON" in damaged[version.version]
    assert list(damaged_versions(store, "tiny")) == [version.version]


def test_what_models_wrote_is_escaped_on_the_page_and_kept_in_json(lake):
    origins = trace(lake, "sample")
    html = to_html("<script>", origins, [])
    assert "&lt;b&gt;1+2=4" in html and "<b>1+2=4" not in html and "<script>" not in html
    assert json.loads(json.dumps(origins[0].to_json()))["facts"]["steps"] == "<b>1+2=4"


def test_ids_have_bloom_filters_in_the_lake_and_published_shards_have_none(lake, version):
    def has_filter(path: str, column: str) -> bool:
        metadata = pq.read_metadata(path)
        group = metadata.row_group(0)
        columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        return columns[column].bloom_filter_offset is not None

    nodes = lake.files("search_nodes", NIGHT)[0]
    assert has_filter(nodes, "tree_id") and not has_filter(nodes, "step_text")
    assert not has_filter(str(version.path / version.manifest["sets"]["sft"]["files"][0]["path"]), "rollout_id")
