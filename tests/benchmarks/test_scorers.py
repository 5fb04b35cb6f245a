"""The scorers that benchmarks put together themselves give the same scores in every way to compute them."""

import pytest

from critics.checkpoint import save_critic
from critics.model import initial_critic
from critics.score import packed_outputs, padded_outputs
from pipelines.config import Settings
from pipelines.inference.session import model_folder
from tests.benchmarks.critic_scoring import MANIFEST, scorer_of
from tests.benchmarks.starter_card import untrained_scorer

PROMPTS, STEPS = ["<verify>12+7\n", "<verify>3*4\n"], [["12+7=19", "#### 19"], ["3*4=13", "#### 13"]]


def test_padded_packed_and_untrained_scorers_agree(tmp_path):
    policy = model_folder("starter")
    save_critic(initial_critic(policy, 0), policy, tmp_path / "critic", MANIFEST, frozenset())
    packed, padded = (
        scorer_of(tmp_path / "critic", one).score(PROMPTS, STEPS) for one in (packed_outputs, padded_outputs)
    )
    assert [score for one in packed for score in one] == pytest.approx(
        [score for one in padded for score in one], abs=1e-5
    )
    assert untrained_scorer(Settings()).score(PROMPTS, STEPS) == packed
    assert packed[0][0] > packed[1][0]
