import pytest

from critics.registry import (
    OWN,
    PROMOTED,
    PromotionError,
    current_before,
    current_set,
    history,
    promote,
    promoted_paths,
    promoted_row,
    promotions,
    rollback,
    rows_of_night,
    trained_set,
)
from pipelines.lake import Lake, rows_to_table

NIGHTS = ("2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05")


def critic_rows(night: str, folds: tuple[int | None, ...] = (0, 1, None)) -> list[dict]:
    name = {None: "all", 0: "fold-0", 1: "fold-1"}
    return [
        {"critic_id": f"{night}-{name[fold]}", "path": f"checkpoints/{night}/k/{name[fold]}", "fold": fold,
         "digest": f"{night}{fold}", "night": night}
        for fold in folds
    ]  # fmt: skip


@pytest.fixture
def lake(tmp_path):
    """Critics of three nights; none is promoted."""
    lake = Lake(tmp_path / "lake")
    for night in NIGHTS[:3]:
        lake.write("critics", rows_to_table("critics", critic_rows(night)), partition=night)
    return lake


def promoted_by_trial(lake: Lake, night: str) -> None:
    row = promoted_row(trained_set(lake.read("critics", night)), night, OWN, "not_worse")
    lake.write("critic_promotions", rows_of_night(lake, night, row), partition=night)


def test_the_full_critic_and_its_folds_go_together(lake):
    critics = trained_set(lake.read("critics", NIGHTS[0]))
    assert critics.full.critic_id == f"{NIGHTS[0]}-all"
    assert {fold: member.critic_id for fold, member in critics.folds.items()} == {
        0: f"{NIGHTS[0]}-fold-0", 1: f"{NIGHTS[0]}-fold-1",
    }  # fmt: skip
    assert critics.version != trained_set(lake.read("critics", NIGHTS[1])).version
    for folds in ((None,), (0, 1), ()):
        assert trained_set(rows_to_table("critics", critic_rows("n", folds))) is None


def test_nothing_is_current_before_the_first_promotion(lake):
    assert current_set(lake, NIGHTS[2]) is None
    assert current_before(lake, NIGHTS[2]) is None


def test_a_night_begins_with_the_critics_of_before_and_ends_with_its_own(lake):
    promoted_by_trial(lake, NIGHTS[0])
    promoted_by_trial(lake, NIGHTS[1])
    assert [current_set(lake, night).night for night in NIGHTS] == [NIGHTS[0], NIGHTS[1], NIGHTS[1], NIGHTS[1]]
    assert current_before(lake, NIGHTS[0]) is None
    assert [current_before(lake, night).night for night in NIGHTS[1:]] == [NIGHTS[0], NIGHTS[1], NIGHTS[1]]


def test_a_set_stays_current_when_its_night_trains_others(lake):
    promoted_by_trial(lake, NIGHTS[0])
    before = current_set(lake, NIGHTS[0])
    others = [row | {"digest": "other", "path": "elsewhere"} for row in critic_rows(NIGHTS[0])]
    lake.write("critics", rows_to_table("critics", others), partition=NIGHTS[0])
    assert current_set(lake, NIGHTS[0]) == before
    assert promoted_paths(lake) == {member.path for member in before.members}


def test_one_rolls_back_step_by_step_and_no_further_than_to_the_first(lake):
    for night in NIGHTS[:3]:
        promoted_by_trial(lake, night)
    assert [rollback(lake)["critic_night"], rollback(lake)["critic_night"]] == [NIGHTS[1], NIGHTS[0]]
    assert current_set(lake, NIGHTS[2]).night == NIGHTS[0]
    assert current_before(lake, NIGHTS[2]).night == NIGHTS[1]  # decided after that night
    with pytest.raises(PromotionError, match="no earlier critic to roll back to: 2026-01-02-all is the first one"):
        rollback(lake)


def test_what_was_decided_by_hand_outlives_a_new_trial_of_its_night(lake):
    promoted_by_trial(lake, NIGHTS[0])
    promoted_by_trial(lake, NIGHTS[1])
    rollback(lake)
    promoted_by_trial(lake, NIGHTS[1])
    assert current_set(lake, NIGHTS[1]).night == NIGHTS[0]
    lake.write("critic_promotions", rows_of_night(lake, NIGHTS[1], None), partition=NIGHTS[1])
    assert current_set(lake, NIGHTS[1]).night == NIGHTS[0]
    assert [(row["number"], row["action"]) for row in promotions(lake)] == [(0, "promoted"), (1, "rolled_back")]


def test_a_held_critic_can_be_promoted_by_hand(lake):
    promoted_by_trial(lake, NIGHTS[0])
    row = promote(lake, NIGHTS[1])
    assert (row["action"], row["reason"], row["night"], row["number"]) == (PROMOTED, "by_hand", NIGHTS[1], 1)
    assert current_set(lake, NIGHTS[1]).night == NIGHTS[1]
    assert rollback(lake)["critic_night"] == NIGHTS[0]
    promote(lake, NIGHTS[1])
    assert current_set(lake, NIGHTS[1]).night == NIGHTS[1]


def test_what_cannot_be_promoted_is_explained(lake):
    with pytest.raises(PromotionError, match="'2026-01-09' has no critics; nights that have: 2026-01-02, 2026-01-03"):
        promote(lake, "2026-01-09")
    promoted_by_trial(lake, NIGHTS[0])
    with pytest.raises(PromotionError, match=r"2026-01-02 \(2026-01-02-all\) are the current ones already"):
        promote(lake, NIGHTS[0])
    with pytest.raises(PromotionError, match="none was ever promoted"):
        rollback(Lake(f"{lake.root}-empty"))


def test_the_history_tells_what_was_promoted_held_and_rolled_back(lake):
    promoted_by_trial(lake, NIGHTS[0])
    trial = {"critic_id": f"{NIGHTS[1]}-all", "is_promotable": False, "reason": "drift", "drift": 2.5}
    trial |= {"night": NIGHTS[1], "evaluation_difference": 0.1, "evaluation_low": -0.1, "evaluation_high": 0.2}
    lake.write("critic_trials", rows_to_table("critic_trials", [trial]), partition=NIGHTS[1])
    promoted_by_trial(lake, NIGHTS[2])
    rollback(lake)
    found = [(entry["night"], entry["action"], entry["critic_id"], entry["is_current"]) for entry in history(lake)]
    assert found == [
        (NIGHTS[0], "promoted", f"{NIGHTS[0]}-all", False),
        (NIGHTS[1], "held", f"{NIGHTS[1]}-all", False),
        (NIGHTS[2], "promoted", f"{NIGHTS[2]}-all", False),
        (NIGHTS[2], "rolled_back", f"{NIGHTS[0]}-all", True),
    ]
    assert (history(lake)[1]["drift"], history(lake)[1]["difference"]) == (2.5, 0.1)
