"""The line above the report."""

from pipelines.config import PromotionConfig
from pipelines.night_report.verdict import FAILED, HOLD, OPEN, PROMOTE, verdict_of

CONFIG = PromotionConfig(max_drift=0.25)
TRIAL = {
    "reason": "not_worse", "is_promotable": True, "evaluation_difference": 0.01, "evaluation_low": -0.02,
    "evaluation_high": 0.04, "unguided_difference": None, "unguided_low": None, "unguided_high": None, "drift": 0.125,
}  # fmt: skip


def test_a_critic_that_is_promoted_says_what_decided():
    verdict = verdict_of(TRIAL, None, CONFIG)
    assert verdict.kind == PROMOTE
    assert verdict.text == (
        "tonight's critic is not worse than the current one (AUROC on frozen problems +0.010, 95 % -0.020 to +0.040; "
        "drift 0.125, limit 0.25)"
    )


def test_a_critic_that_is_held_names_the_blocking_check():
    verdict = verdict_of(TRIAL | {"reason": "drift", "is_promotable": False, "drift": 0.31}, None, CONFIG)
    assert verdict.kind == HOLD
    assert verdict.text.startswith("blocked by the check critic_promotions.promotable: the scores")
    assert "drift 0.310, limit 0.25" in verdict.text


def test_the_first_critic_has_no_numbers_to_show():
    first = dict.fromkeys(TRIAL, None) | {"reason": "first_critic", "is_promotable": True}
    assert verdict_of(first, None, CONFIG).text == "the first critic has nobody to beat"


def test_a_failure_comes_before_everything_and_no_trial_is_neither():
    assert verdict_of(TRIAL, "rollouts: the engine died", CONFIG).kind == FAILED
    assert verdict_of(None, None, CONFIG).kind == OPEN
