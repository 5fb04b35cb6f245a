"""Every filter on groups of one, all right, all wrong, tied everywhere, and with scores that are no numbers."""

import pytest
from curation_worlds import group, reasons, run_method

NAN = float("nan")
SPREAD = [[0.9, 0.5], [0.8, 0.4], [0.2, 0.1], [0.6, 0.6]]  # means .7, .6, .15, .6
GROUPS = {
    "one": group("a", 1.0, step_values=SPREAD[:1]),
    "all right": group("a", *[1.0] * 4, step_values=SPREAD),
    "all wrong": group("a", *[0.0] * 4, step_values=SPREAD),
    "ties": group("a", 1.0, 1.0, 0.0, 0.0, step_values=[[0.5, 0.5]] * 4),
    "nan": group("a", 1.0, 1.0, 0.0, 0.0, step_values=[[NAN, 0.5], [NAN, NAN], [0.2, 0.1], [0.6, NAN]]),
}
MORE = {"num_tokens": 20, "answer": "9", "sum_logprob": -2.0, "steps": ["x", "y"]}
PARAMETERS = {name: {"num_removed": 2} for name in ("prof", "prof_ratio", "prof_joint", "random_removal")}
PARAMETERS["b_star"] = {"threshold": 0.3}
BROKEN = "broken_step_scores"


def decided(method: str, world: str, backwards: bool = False) -> list[str | None]:
    rows = [row | MORE for row in GROUPS[world]]
    made = run_method(method, rows[::-1] if backwards else rows, **PARAMETERS.get(method, {}))
    return reasons(made)[::-1] if backwards else reasons(made)


@pytest.mark.parametrize(
    ("method", "world", "expected"),
    [
        # k = 2 of one side only: the least consistent, of the equal .6 the smaller id; a tie goes to the smaller id
        ("prof", "one", ["low_consistency"]),
        ("prof", "all right", [None, "low_consistency", "low_consistency", None]),
        ("prof", "all wrong", ["low_consistency", "low_consistency", None, None]),
        ("prof", "ties", ["low_consistency", None, "low_consistency", None]),
        ("prof", "nan", [BROKEN, BROKEN, "low_consistency", BROKEN]),
        ("prof_ratio", "all wrong", ["inconsistent", "inconsistent", None, None]),
        ("prof_joint", "ties", ["inconsistent", "inconsistent", None, None]),
        ("prof_joint", "nan", [BROKEN, BROKEN, "inconsistent", BROKEN]),
        ("random_removal", "one", ["balance_random"]),
        ("random_removal", "nan", [BROKEN, BROKEN, "balance_random", BROKEN]),
        # half stay: those at both ends by id where all advantages are equal
        ("d3s", "one", [None]),
        ("d3s", "all right", [None, "low_variance", "low_variance", None]),
        ("d3s", "all wrong", [None, "low_variance", "low_variance", None]),
        # groups without contrast go; step scores are not read
        ("reinforce_rej", "one", ["all_right"]),
        ("reinforce_rej", "all right", ["all_right"] * 4),
        ("reinforce_rej", "all wrong", ["all_wrong"] * 4),
        ("reinforce_rej", "ties", [None] * 4),
        ("reinforce_rej", "nan", [None] * 4),
        ("nft", "one", ["all_right"]),
        ("nft", "all wrong", ["all_wrong"] * 4),
        ("raft", "all right", [None] * 4),
        ("raft", "all wrong", ["wrong_answer"] * 4),
        # the best and the worst stay; of equal ones the smaller id is the best
        ("policy_filtration", "one", [None]),
        ("policy_filtration", "ties", [None, "unreliable_reward", "unreliable_reward", None]),
        ("policy_filtration", "nan", [BROKEN, BROKEN, None, BROKEN]),
        ("b_star", "nan", [BROKEN, BROKEN, "below_threshold", BROKEN]),
        # one answer of all is a majority, however few they are
        ("self_consistency", "one", [None]),
        ("self_consistency", "all wrong", [None] * 4),
        ("overlong", "all wrong", [None] * 4),
    ],
)
def test_a_bad_group_is_decided_by_name(method, world, expected):
    assert decided(method, world) == expected


@pytest.mark.parametrize("world", GROUPS)
@pytest.mark.parametrize(
    "method",
    ["prof", "prof_ratio", "prof_joint", "random_removal", "d3s", "reinforce_rej", "nft", "raft", "overlong", "b_star",
     "self_consistency", "policy_filtration"],
)  # fmt: skip
def test_the_order_of_rows_decides_nothing_in_a_bad_group(method, world):
    assert decided(method, world, backwards=True) == decided(method, world)
