"""The line above the report."""

from pipelines.night_report.verdict import FAILED, HOLD, OPEN, PROMOTE, verdict_of

TRIAL = {
    "reason": "not_worse", "is_promotable": True, "evaluation_difference": 0.01, "evaluation_low": -0.02,
    "evaluation_high": 0.04, "unguided_difference": None, "unguided_low": None, "unguided_high": None,
    "drift": 0.125, "margin": 0.02, "max_drift": 0.25,
}  # fmt: skip


def test_a_critic_that_is_promoted_says_what_decided():
    verdict = verdict_of(TRIAL, None)
    assert verdict.kind == PROMOTE
    assert verdict.text == (
        "tonight's critic is not worse than the current one (AUROC within frozen problems +0.010, 95 % -0.020 to "
        "+0.040, margin 0.02; drift 0.125, limit 0.25)"
    )


def test_a_critic_that_is_held_names_the_blocking_check():
    verdict = verdict_of(TRIAL | {"reason": "drift", "is_promotable": False, "drift": 0.31}, None)
    assert verdict.kind == HOLD
    assert verdict.text.startswith("blocked by the check critic_promotions.promotable: the scores")
    assert "drift 0.310, limit 0.25" in verdict.text


def test_a_trial_from_before_limits_were_kept_shows_none():
    verdict = verdict_of(TRIAL | {"margin": None, "max_drift": None}, None)
    assert verdict.text.endswith("95 % -0.020 to +0.040; drift 0.125)")


def test_the_first_critic_has_no_numbers_to_show():
    first = dict.fromkeys(TRIAL, None) | {"reason": "first_critic", "is_promotable": True}
    assert verdict_of(first, None).text == "the first critic has nobody to beat"


def test_a_failure_comes_before_everything_and_no_trial_is_neither():
    assert verdict_of(TRIAL, "rollouts: the engine died").kind == FAILED
    assert verdict_of(None, None).kind == OPEN
