"""A process critic on a real engine: vLLM's pooling runner on the CPU."""

import subprocess
import sys

import pytest

from critics.checkpoint import CriticManifest, save_critic
from critics.model import initial_critic
from critics.score import load_critic, load_served_critic
from pipelines.config import EngineConfig, PolicyConfig, Settings
from pipelines.inference.engine_service import stop_engine
from tests.pipelines.inference.conftest import build_model

MANIFEST = CriticManifest(
    kind="process", digest="", data_version="", examples_digest="", init_digest="", fold=None, num_folds=2,
    training_problems_digest="", num_problems=0, num_nodes=0, num_pairs=0, config={}, metrics={}, created_at="",
)  # fmt: skip


@pytest.fixture
def owner():
    """The process with whose end the engine ends."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.vllm
def test_a_critic_on_an_engine_gives_the_scores_of_its_network(tmp_path, owner):
    policy = build_model(tmp_path / "policy")
    save_critic(initial_critic(policy, seed=0), policy, tmp_path / "critic", MANIFEST, frozenset())
    settings = Settings(
        root=tmp_path / "workspace",
        policy=PolicyConfig(model=str(policy), max_model_len=96),
        engine=EngineConfig(device="cpu", max_num_seqs=32, kv_cache_gib=1.0),
    )
    # prefixes of 64 tokens and more, so that an engine with a prefix cache of 32-token blocks finds them again
    prompts = [f"{'1+2' * 20}={i % 3}\n" for i in range(40)]
    steps = [[f"{i}+{i}={2 * i}", "ab" * (i % 4), "#### 7" * (i % 7)] for i in range(40)]
    try:
        served = load_served_critic(tmp_path / "critic", settings, "run", owner.pid)
        first, again = served.score(prompts, steps), served.score(prompts, steps)
    finally:
        stop_engine(settings, "run")
    network = load_critic(tmp_path / "critic")
    network._encoder.max_length = 96
    expected = network.score(prompts, steps)
    flat = [score for scores in expected for score in scores if score is not None]
    assert max(flat) - min(flat) > 0.01
    assert None in {score for scores in expected for score in scores}
    for one, other in zip(first + again, expected * 2, strict=True):
        assert [score is None for score in one] == [score is None for score in other]
        assert [s for s in one if s is not None] == pytest.approx([s for s in other if s is not None], abs=1e-4)
