"""The order of the cells, whose policy each starts from, and what belongs to one experiment."""

from pipelines.config import Settings
from reasonmill.proof.plan import (
    BASE,
    FILTERED,
    LOOP_ARMS,
    RANDOM,
    REJECTION_SAMPLING,
    Cell,
    Plan,
    cells,
    settings_of,
)


def test_the_first_night_starts_from_the_untrained_policy_and_every_other_from_the_night_before() -> None:
    assert Cell(RANDOM, 2, 1).before() == Cell(BASE, 2, 0)
    assert Cell(RANDOM, 2, 3).before() == Cell(RANDOM, 2, 2)


def test_every_arm_of_every_seed_is_measured_every_night_and_random_comes_after_filtered() -> None:
    order = list(cells(Plan(num_seeds=2, num_nights=2, arms=(RANDOM, FILTERED, REJECTION_SAMPLING))))
    assert len(order) == len(set(order)) == 2 * (1 + 3 * 2)
    assert order[:4] == [Cell(BASE, 0, 0), Cell(BASE, 1, 0), Cell(FILTERED, 0, 1), Cell(FILTERED, 0, 2)]
    assert all(order.index(Cell(FILTERED, cell.seed, cell.night)) < at for at, cell in enumerate(order)
               if cell.arm == RANDOM)  # fmt: skip


def test_a_seed_changes_problems_rollouts_and_critic() -> None:
    chosen = settings_of(Settings(), Plan(group_size=6, threshold=0.5), seed=4)
    sections = (chosen.problems, chosen.rollouts, chosen.process_critic)
    assert [section.seed for section in sections] == [4, 4, 4]
    (prof,) = chosen.consistency.methods
    assert prof.parameters == {"num_removed": 3}
    assert chosen.training_sets.min_step_score == 0.5


def test_the_arms_of_the_loop_differ_in_their_training_sets_alone() -> None:
    chosen = {arm: settings_of(Settings(), Plan(), seed=0, arm=arm) for arm in LOOP_ARMS}
    sets = {arm: one.training_sets for arm, one in chosen.items()}
    assert [(one.max_sft_per_problem, one.sft_per_problem) for one in sets.values()] == [
        (1, "uniform"), (4, "uniform"), (4, "difficulty"),
    ]  # fmt: skip
    others = [one.model_copy(update={"training_sets": sets[FILTERED]}) for one in chosen.values()]
    assert all(one == chosen[FILTERED] for one in others)


def test_the_problems_are_of_all_families_alike_unless_the_configuration_names_its_own() -> None:
    assert [source.count for source in settings_of(Settings(), Plan(), seed=0).problems.sources] == [600, 600, 600]
    own = {"problems": {"sources": [{"kind": "starter", "family": "dial", "count": 40}]}}
    (source,) = settings_of(Settings.model_validate(own), Plan(), seed=0).problems.sources
    assert (source.family, source.count) == ("dial", 40)
