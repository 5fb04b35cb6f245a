import pytest

from pipelines.rows import rows_to_table
from tests.benchmarks.prof_dial import (
    WORLDS,
    Sample,
    as_markdown,
    dial_problems,
    made_up_critics,
    measured,
    normals,
    parsed_world,
    samples_of,
    step_auroc,
    world,
)


def make_samples(num_problems):
    """In every problem three right samples, of which the first is flawed, and a wrong one."""
    kinds = [((True, False, True), 1.0), ((True, True, True), 1.0), ((True, True, True), 1.0), ((True, False), 0.0)]
    return [
        Sample(f"r{problem}{i}", f"p{problem}", f"p{problem}-0", (f"a{i}", "b", "c")[: len(right)], right, outcome)
        for problem in range(num_problems)
        for i, (right, outcome) in enumerate(kinds)
    ]


def test_a_perfect_critic_removes_the_flawed_answer_and_a_lot_changes_no_share():
    # d = 2, k = 2: two right samples go, the flawed one first; one right sample without a flaw stays
    samples = make_samples(3)
    row = measured("perfect", samples, made_up_critics(samples)["perfect"], "mean", 2)
    assert (row["num_groups"], row["num_touched"], row["step_auroc"]) == (3, 3, 1.0)
    for scope in ("touched", "all"):
        assert {name: values[0] for name, values in row[scope].items()} == pytest.approx(
            {"none": 1 / 3, "lot": 1 / 3, "prof": 0.0, "fall": 1.0, "fall_from_lot": 1.0}
        )
    assert row["harm"] == {"num_mixed": 3, "num_worse": 0, "num_only_flawed_left": 0, "num_without_flaw": 0,
                           "clean_removed": 0.5, "flawed_removed": 1.0}  # fmt: skip


def test_a_critic_that_sees_everything_upside_down_leaves_only_flaws():
    samples = make_samples(2)
    scores = [[1.0 - value for value in of_steps] for of_steps in made_up_critics(samples)["perfect"]]
    row = measured("upside down", samples, scores, "mean", 2)
    assert row["touched"]["prof"][0] == 1.0
    assert row["touched"]["fall"][0] == pytest.approx(-2.0)
    assert (row["harm"]["num_worse"], row["harm"]["num_only_flawed_left"]) == (2, 2)


def test_groups_in_which_no_right_sample_went_count_among_all_groups_alone():
    # one right and flawed, three wrong: d = -2, k = 2: both that go are wrong
    other = [Sample(f"s{i}", "q", "q-0", ("a",), (False,), float(i == 0)) for i in range(4)]
    samples = make_samples(1) + other
    row = measured("perfect", samples, made_up_critics(samples)["perfect"], "mean", 2)
    assert (row["num_groups"], row["num_touched"]) == (2, 1)
    assert row["touched"]["none"][0] == pytest.approx(1 / 3)
    assert row["all"]["none"][0] == pytest.approx(2 / 4)
    assert row["all"]["lot"][0] == pytest.approx((1 / 3 + 1) / 2)
    assert row["all"]["prof"][0] == pytest.approx(1 / 2)


def test_noise_brings_the_auroc_of_steps_to_what_was_asked_for():
    samples = make_samples(400)
    critics = made_up_critics(samples)
    assert step_auroc(samples, critics["noisy 0.85"]) == pytest.approx(0.85, abs=0.01)
    assert step_auroc(samples, critics["noisy 0.7"]) == pytest.approx(0.7, abs=0.01)


def test_equal_beginnings_of_a_problem_get_equal_noise():
    one, other = (Sample(name, "p", "p-0", steps, (True, True), 1.0) for name, steps in (("r", "ab"), ("s", "ac")))
    assert normals(one)[0] == normals(other)[0]
    assert normals(one)[1] != normals(other)[1]


def test_dials_are_held_out_and_a_world_says_how_many_right_answers_are_flawed():
    problems = dial_problems(3, 2)
    assert set(problems["split"].to_pylist()) == {"held_out"}
    assert world(make_samples(2)) == {
        "num_samples": 8, "num_groups": 2, "right_share": 0.75, "flawed_share": pytest.approx(1 / 3)
    }  # fmt: skip


def test_every_critic_has_a_line_in_each_table():
    samples = make_samples(2)
    row = {"m": 2, "level": 3, **measured("perfect", samples, made_up_critics(samples)["perfect"], "mean", 2)}
    of_world = {"m": 2, "level": 3, "temperature": 1.0, **world(samples), "lost": {"failed": 16}}
    result = {"date": "d", "machine": "m", "command": "c", "num_problems": 2, "num_seeds": 1, "n": 4, "k": 2,
              "critic": "v", "rows": [row], "worlds": [of_world]}  # fmt: skip
    lines = as_markdown(result)
    assert sum(line.startswith("| 2 | 3 | perfect | mean") for line in lines) == 3
    assert any(line.startswith("| 2 | 3 | 1.0 | 8 | 2 |") and line.endswith("| 16 failed |") for line in lines)


def test_what_is_no_sample_is_counted_by_its_reason():
    problems = dial_problems(1, 2)
    known = {"problem_id": problems["problem_id"][0].as_py(), "group_id": "g", "steps": ["1+1=3", "#### 0"]}
    rows = [
        known | {"rollout_id": "a", "outcome_reward": 1.0}, known | {"rollout_id": "b"},
        known | {"rollout_id": "c", "error": "EngineError: gone", "steps": None},
        known | {"rollout_id": "d", "outcome_reward": 0.0, "steps": []},
    ]  # fmt: skip
    samples, lost = samples_of(problems, rows_to_table("rollouts", rows), 7)
    assert [(one.rollout_id, one.group_id) for one in samples] == [("a-7", f"{known['problem_id']}-7")]
    assert lost == {"ungraded": 1, "failed": 1, "no_gold_steps": 1}


def test_a_world_is_its_choices_its_level_and_its_temperature():
    assert parsed_world("4:2") == (4, 2, 1.0)
    assert parsed_world("10:1:0.7") == (10, 1, 0.7)
    for text in ("4", "1:2", "4:5", "x:1", "4:1:", "11:1"):
        with pytest.raises(SystemExit, match="it must be M:LEVEL or M:LEVEL:TEMPERATURE"):
            parsed_world(text)
    assert all(parsed_world(text) for text in WORLDS)
