"""A night whose problems went away under it is stopped by name and loses nothing."""

import pytest

from assets.known_problems import require_problems
from pipelines.errors import LakeError
from pipelines.lake import Lake
from pipelines.rows import rows_to_table

NIGHT, BEFORE = "2026-01-02", "2026-01-01"


def test_rollouts_of_problems_that_are_gone_stop_the_night(tmp_path):
    lake = Lake(tmp_path)
    require_problems(lake, NIGHT)  # nothing was made yet
    for night, problems in ((BEFORE, ["old"]), (NIGHT, ["a", "b", "b"])):
        rows = [
            {"rollout_id": f"{night}-{index}", "problem_id": name, "night": night}
            for index, name in enumerate(problems)
        ]
        lake.write("rollouts", rows_to_table("rollouts", rows), partition=night)
    lake.write("problems", rows_to_table("problems", [{"problem_id": name} for name in ("a", "b")]))
    require_problems(lake, NIGHT)  # those of nights before may go
    lake.write("problems", rows_to_table("problems", [{"problem_id": "a"}]))
    with pytest.raises(LakeError, match=f"2 rollouts of the night {NIGHT} are of 1 problems .* such as b"):
        require_problems(lake, NIGHT)
