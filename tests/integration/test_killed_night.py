"""Kill -9 of a whole night: whatever moment it dies at, the next run ends it and every row is there once."""

import random
from pathlib import Path

import pytest

from tests.benchmarks.killed_night import at_moment, corrupted, difference, in_process, next_run, rows_of


@pytest.mark.slow
def test_a_night_that_is_killed_three_times_and_a_changed_shard_leave_the_rows_of_an_undisturbed_night(tmp_path: Path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert in_process(whole) == 0
    wanted = rows_of(whole)
    moments = random.Random(1)
    for _ in range(3):  # the same workspace: each run takes up what the one before has left
        in_process(killed, at_moment(moments.uniform(0.5, 8.0)))

    death = next_run(killed, wanted, "killed three times")

    assert death.complaint == ""
    assert corrupted(whole, wanted) == "named by its checksum, made anew by the next run"


def test_a_row_that_is_lost_doubled_or_changed_is_noticed():
    wanted = {"rollouts": [{"rollout_id": "a", "answer": "1"}, {"rollout_id": "b", "answer": "2"}]}
    assert difference(wanted, wanted) == ""
    assert difference({"rollouts": wanted["rollouts"][:1]}, wanted) == "rollouts: 1 rows, 2 wanted"
    changed = [wanted["rollouts"][0], {"rollout_id": "b", "answer": "3"}]
    assert difference({"rollouts": changed}, wanted) == "rollouts: 2 rows, 2 wanted; answer differ"
