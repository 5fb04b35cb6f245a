"""The problems of a night have to be there until it is done."""

from assets.writing import read_night, scan_night
from pipelines.errors import LakeError
from pipelines.lake import Lake
from pipelines.warehouse import Warehouse


def require_problems(lake: Lake, night: str) -> None:
    """LakeError where a rollout of the night has a problem that the table of problems no longer has."""
    tables = {"rollouts": scan_night(lake, "rollouts", night), "problems": read_night(lake, "problems", night)}
    with Warehouse.over(tables) as warehouse:
        (found,) = warehouse.named("rollouts/without_problem", night=night).to_pylist()
    if found["num_rollouts"]:
        raise LakeError(
            f"{found['num_rollouts']:,} rollouts of the night {night} are of {found['num_problems']:,} problems that "
            f"the table of problems does not have, such as {found['example']}: a problem file or problems.sources has "
            "changed since the night began. What it made is still there. Bring the problems back and make `problems` "
            "again, or run the whole night again with the new ones."
        )
