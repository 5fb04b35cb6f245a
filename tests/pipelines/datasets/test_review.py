"""Solutions to review go out as json lines, and people's labels come back: whole, once, and for that text only."""

import json
from datetime import date
from pathlib import Path

import pytest

from pipelines.config_models import NightReportConfig
from pipelines.datasets.review import (
    READ,
    Imported,
    ReviewError,
    audited_rollouts,
    queue_lines,
    queued,
    read_reviews,
    reviewed_rollouts,
    rollouts_of_set,
    rows_until,
    store_reviews,
)
from pipelines.lake import Lake, rows_to_table
from pipelines.night_report.facts import audited
from pipelines.warehouse import Warehouse
from tests.pipelines.published_worlds import make_version

N1, N2 = "2026-11-03", "2026-11-04"
TODAY = date(2026, 11, 21)
STEPS = {"r1": ["1+2=3", "#### 3"], "r2": ["1+2=4", "#### 3"], "r3": ["3+3=6", "6-1=5", "#### 5"]}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two right answers of one night, r2 with a wrong step that machines do not see; r3 of the next."""
    lake = Lake(tmp_path / "lake")
    problems = [{"problem_id": "p", "prompt": "1+2", "split": "train"}, {"problem_id": "q", "prompt": "3+3-1"}]
    lake.write("problems", rows_to_table("problems", problems))
    for night, names in ((N1, ("r1", "r2")), (N2, ("r3",))):
        rollouts, scores, gold = [], [], []
        for name in names:
            key = {"rollout_id": name, "night": night}
            problem_id = "q" if name == "r3" else "p"
            rollouts.append(key | {"problem_id": problem_id, "group_id": f"g-{problem_id}", "steps": STEPS[name],
                                   "outcome_reward": 1.0, "answer": "3"})  # fmt: skip
            for step in range(len(STEPS[name])):
                scores.append(key | {"step": step, "source": "critic", "score": 0.75})
                gold.append(key | {"step": step, "is_right": True})
        verdict = {"rollout_id": names[0], "verdict": "wrong", "first_error_step": 1, "night": night}
        for table, rows in (
            ("rollouts", rollouts), ("step_scores", scores), ("gold_steps", gold), ("verdicts", [verdict])
        ):  # fmt: skip
            lake.write(table, rows_to_table(table, rows), partition=night)
    return lake


def exported(lake: Lake, *rollout_ids: str, is_blind: bool = False) -> list[dict]:
    with Warehouse(lake, READ) as warehouse:
        return queue_lines(warehouse, queued({"audited_sample": rollout_ids}), is_blind=is_blind)


def imported(lake: Lake, path: Path, *, today: date = TODAY, **of: str) -> Imported:
    with Warehouse(lake, READ) as warehouse:
        reviews, num_empty = read_reviews(path, warehouse, **of)
    return store_reviews(lake, reviews, num_empty, today)


def filled(path: Path, lines: list[dict], labels: dict[str, object], **more: object) -> Path:
    """The lines with labels by rollout, as a reviewer leaves them."""
    rows = [line | {"first_error_step": labels.get(line["rollout_id"])} | more for line in lines]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def stored(lake: Lake) -> list[tuple]:
    rows = lake.read("human_labels").to_pylist()
    return [(row["rollout_id"], row["reviewer"], row["first_error_step"], row["reviewed_on"]) for row in rows]


def test_a_line_shows_the_solution_and_what_machines_say_unless_it_is_blind(lake):
    by_id = {line["rollout_id"]: line for line in exported(lake, "r1", "r2", "gone")}
    assert set(by_id) == {"r1", "r2"}
    assert by_id["r1"]["problem"] == "1+2" and by_id["r1"]["steps"] == ["1+2=3", "#### 3"]
    assert by_id["r1"]["machines"]["critic"] == [0.75, 0.75]
    assert (by_id["r1"]["machines"]["verdict"], by_id["r1"]["machines"]["judged_error_step"]) == ("wrong", 1)
    assert by_id["r1"]["machines"]["judges"] == [None, None]  # no agent spoke: unknown, not wrong
    assert by_id["r1"]["first_error_step"] is by_id["r1"]["reviewer"] is None
    (blind,) = exported(lake, "r1", is_blind=True)
    assert "machines" not in blind and blind["blind"] is True


def test_a_rollout_of_two_queues_is_one_line_and_the_limit_holds_per_queue():
    found = queued({"a": ["r1", "r2"], "b": ["r2", "r3"]}, left_out=["r3"])
    assert {one.rollout_id: one.why for one in found} == {"r1": ("a",), "r2": ("a", "b")}
    assert len(queued({"a": ["r1", "r2", "r3"], "b": []}, limit=2)) == 2


def test_labels_come_back_with_reviewer_and_date_and_once_however_often_the_file_is_imported(lake, tmp_path):
    path = filled(tmp_path / "q.jsonl", exported(lake, "r1", "r2", "r3"), {"r1": -1, "r2": 0}, reviewer="ann")
    assert imported(lake, path) == Imported(2, 0, 1, (N1,))
    assert sorted(stored(lake)) == [("r1", "ann", -1, "2026-11-21"), ("r2", "ann", 0, "2026-11-21")]
    generation = lake.generation("human_labels", N1)
    assert imported(lake, path, today=date(2026, 11, 30)) == Imported(0, 2, 1)
    assert lake.generation("human_labels", N1) == generation
    row = lake.read("human_labels", N1).to_pylist()[0]
    assert row["why"] == ["audited_sample"] and row["is_blind"] is False and row["steps"] == STEPS[row["rollout_id"]]
    with Warehouse(lake, READ) as warehouse:
        assert reviewed_rollouts(warehouse) == {"r1", "r2"}


def test_a_second_opinion_and_a_second_thought_are_added_and_nothing_is_removed(lake, tmp_path):
    lines = exported(lake, "r1")
    first = filled(tmp_path / "1.jsonl", lines, {"r1": 0}, reviewer="ann", reviewed_on="2026-11-20")
    imported(lake, first)
    then = lake.generation("human_labels", N1)
    imported(lake, filled(tmp_path / "2.jsonl", lines, {"r1": -1}), reviewer="ann", reviewed_on="2026-11-21")
    imported(lake, filled(tmp_path / "3.jsonl", lines, {"r1": -1}), reviewer="bob")
    assert imported(lake, first) == Imported(0, 1, 0)  # the old file does not undo the second thought
    assert len(stored(lake)) == 3
    with Warehouse(lake, ("human_labels",)) as warehouse:
        (row,) = warehouse.named("critics/reviewed_rollouts").to_pylist()
    assert (row["first_error_step"], row["confidence"]) == (-1, 1.0)
    now = lake.read("human_labels", N1)
    assert rows_until(now, then)["first_error_step"].to_pylist() == [0]  # what a version of then was made from


def test_one_bad_line_keeps_the_whole_file_out_and_every_bad_line_is_named(lake, tmp_path):
    lines = exported(lake, "r1", "r2", "r3")
    one = next(line for line in lines if line["rollout_id"] == "r1") | {"first_error_step": 0, "reviewer": "ann"}
    rows = [
        one,
        one | {"rollout_id": "r9"},
        one | {"steps": ["1+2=3", "#### 4"]},
        one | {"first_error_step": 2},
        one | {"reviewer": "ann "},
        one | {"reviewer": " "},
        one | {"first_error_step": True},
        {name: value for name, value in one.items() if name != "first_error_step"} | {"first_error": 1},
        one | {"reviewed_on": "yesterday", "reviewer": "bob"},
        one | {"comment": 3},
        one | {"problem": "1+3"},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows) + "[1]\n" + "{broken}\n" + json.dumps(one)[:40]
    (path := tmp_path / "q.jsonl").write_text(text)
    with pytest.raises(ReviewError) as caught:
        imported(lake, path)
    message = str(caught.value)
    assert message.startswith(f"{path}: 13 of 14 lines cannot be imported, so none was")
    expected = [
        'line 2: unknown_id: there is no rollout "r9"',
        'line 3: changed_text: step 1 is "#### 4", but the rollout has "#### 3"',
        "line 4: label_out_of_range: first_error_step is 2, but the solution has 2 steps: 0 to 1, or -1",
        "line 5: duplicate: ann labels r1 in line 1 already",
        "line 6: no_reviewer",
        "line 7: wrong_type: first_error_step is true",
        "line 8: missing_field: first_error_step is missing; did you mean first_error",
        'line 9: bad_date: reviewed_on is "yesterday"',
        "line 10: wrong_type: comment is 3",
        'line 11: changed_text: problem is "1+3", but the lake has "1+2"',
        "line 12: not_an_object",
        "line 13: not_json",
        "line 14: truncated_json",
    ]
    for line in expected:
        assert line in message
    assert stored(lake) == []


def test_half_a_character_is_a_bad_line_wherever_it_stands_and_a_whole_one_is_stored(lake, tmp_path):
    (one,) = exported(lake, "r1")
    one |= {"first_error_step": 0, "reviewer": "ann"}
    rows = [one | {"rollout_id": "r\ud800"}, one | {"comment": "so \udc4d"}, one | {"more": [{"\ud83d": 1}]},
            one | {"so \ud83d": 1}]  # fmt: skip
    (path := tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, ["\ud800"]]))
    with pytest.raises(ReviewError) as caught:
        imported(lake, path)
    message = str(caught.value)
    message.encode()  # it can be shown
    assert message.startswith(f"{path}: 5 of 5 lines cannot be imported, so none was")
    for number, name, half in ((1, "rollout_id", "d800"), (2, "comment", "dc4d"), (3, "more", "d83d")):
        assert f"line {number}: half_character: {name} holds \\u{half}" in message
    assert "line 4: half_character: so \\ud83d holds" in message and "line 5: not_an_object" in message
    path.write_text(json.dumps(one | {"comment": "\U0001f44d"}))
    with pytest.raises(ReviewError, match="half_character: --reviewer holds"):
        imported(lake, filled(tmp_path / "r.jsonl", exported(lake, "r1"), {"r1": 0}), reviewer="an\udcff")
    assert stored(lake) == [] and imported(lake, path).num_stored == 1
    assert lake.read("human_labels")["comment"].to_pylist() == ["\U0001f44d"]


@pytest.mark.parametrize(("data", "problem"), [(b"\xff\xfe{}\n", "not_utf8"), (b"\n\n", "has no line")])
def test_a_file_of_another_kind_is_refused(lake, tmp_path, data, problem):
    (path := tmp_path / "q.jsonl").write_bytes(data)
    with pytest.raises(ReviewError, match=problem):
        imported(lake, path)
    with pytest.raises(ReviewError, match="cannot be read"):
        imported(lake, tmp_path / "none.jsonl")


def test_people_correct_the_yield_of_the_audit(lake, tmp_path):
    # the generator takes both answers of the night for flawless; a person sees that the first step of r2 is wrong
    def shares(config: NightReportConfig) -> list[tuple]:
        with Warehouse(lake, READ) as warehouse:
            rows = audited(warehouse, N1, config)
        return [(row["doubly_robust"], row["num_by_people"]) for row in rows if row["measure"] == "right"]

    config = NightReportConfig(num_audited=10)
    people = NightReportConfig(num_audited=10, audited_by="people")
    with Warehouse(lake, READ) as warehouse:
        assert sorted(audited_rollouts(warehouse, N1, config)) == ["r1", "r2"]
    assert shares(config) == [(pytest.approx(1.0), 0)] and shares(people) == []
    imported(lake, filled(tmp_path / "1.jsonl", exported(lake, "r2"), {"r2": 0}), reviewer="ann")
    assert shares(config) == [(pytest.approx(0.5), 1)]
    assert shares(people) == []  # r1 was drawn, too, and waits
    imported(lake, filled(tmp_path / "2.jsonl", exported(lake, "r1"), {"r1": -1}), reviewer="ann")
    assert shares(people) == [(pytest.approx(0.5), 2)]
    assert shares(NightReportConfig(num_audited=10, audited_by="generator")) == [(pytest.approx(1.0), 0)]


def test_sets_give_their_rollouts_without_refinements(tmp_path):
    row = {"prompt": "1+2", "completion": "3", "problem_id": "p"}
    version = make_version(tmp_path, sft=[row | {"rollout_id": "r1", "origin": "search"},
                                          row | {"rollout_id": "r2", "origin": "refinements"}])  # fmt: skip
    assert rollouts_of_set(version, "sft") == ["r1"]
    assert sorted(rollouts_of_set(version, "rl_groups")) == ["r1", "r2", "r3", "r4"]
    with pytest.raises(ReviewError, match="sft, stepwise, rl_groups"):
        rollouts_of_set(version, "preference")
