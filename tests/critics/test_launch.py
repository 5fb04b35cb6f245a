"""Several processes that train one critic: what they share, and that they end with the weights of one."""

import pytest
import torch
from safetensors.torch import load_file

from critics.batches import collate, encode_examples
from critics.errors import CriticDataError, CriticError
from critics.examples import StepExamples, examples_from_trees
from critics.launch import TrainingJob, launch_command, train_in_processes
from critics.model import load_encoder
from critics.team import Team
from pipelines.config import CriticConfig
from tests.critics.conftest import verify_prompt

CONFIG = CriticConfig(
    steps=4, batch_size=12, learning_rate=1e-3, num_folds=2, validation_fraction=0.2, eval_every=2, patience=10,
    ensemble=("bce", "iqn"),
)  # fmt: skip


class Rank(Team):
    """One of several processes, of which only places are asked."""

    def __init__(self, rank, size):
        object.__setattr__(self, "accelerator", None)
        object.__setattr__(self, "places", (rank, size))

    rank = property(lambda self: self.places[0])
    size = property(lambda self: self.places[1])


@pytest.fixture(scope="module")
def examples(toy_trees):
    return examples_from_trees(*toy_trees(12), verify_prompt)


def test_every_row_is_one_processes_and_shares_differ_by_one_row_at_most():
    for size in (1, 2, 3, 7):
        shares = [Rank(rank, size).rows_of(5) for rank in range(size)]
        assert [row for share in shares for row in share] == list(range(5))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("packing", ["chunks", "off"])
def test_shares_of_a_batch_hold_each_node_once_and_all_labels(examples, language_model, packing):
    units = encode_examples(examples, load_encoder(language_model), 12)[:3]
    whole = collate(units, packing)
    num_rows = sum(len(unit.rows) for unit in units)
    tokens, at = [], 0
    for rank in range(4):
        part = collate(units, packing, Rank(rank, 4).rows_of(num_rows))
        assert part.start == at
        at += len(part.rows_N)
        tokens += part.ids_BT[part.rows_N, part.positions_N].tolist()
        assert torch.equal(part.targets_N, whole.targets_N) and torch.equal(part.better_P, whole.better_P)
    assert tokens == whole.ids_BT[whole.rows_N, whole.positions_N].tolist()
    nobody = collate(units, packing, range(2, 2))
    assert len(nobody.rows_N) == 0 and nobody.ids_BT.numel() > 0


def test_the_launcher_starts_as_many_processes_as_it_is_told(examples, tmp_path):
    job = TrainingJob(examples, CONFIG.model_copy(update={"num_processes": 3}), tmp_path, tmp_path, device="cpu")
    command = launch_command(job, tmp_path)
    assert command[command.index("--num_processes") + 1] == "3"
    assert command[-3:] == ["-m", "critics.launch", str(tmp_path)]


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True], ids=["copied", "sharded"])
def test_two_processes_end_with_the_weights_of_one(examples, language_model, tmp_path, sharded):
    reported: list[int] = []
    together = CONFIG.model_copy(update={"num_processes": 2, "sharded": sharded})
    jobs = [
        TrainingJob(examples, config, language_model, tmp_path / name, 1, "gen-1", "cpu")
        for name, config in (("one", CONFIG), ("two", together))
    ]
    one = train_in_processes(jobs[0], lambda step, metrics: None)
    two = train_in_processes(jobs[1], lambda step, metrics: reported.append(step))
    assert reported == [0, 2, 4]
    weights = [load_file(critic.folder / "model.safetensors") for critic in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert torch.allclose(tensor, weights[1][name], rtol=0, atol=1e-5), name
    assert two.metrics == pytest.approx(one.metrics, abs=1e-5)


class Killed(Exception):
    """What ends a launcher here."""


@pytest.mark.slow
def test_processes_that_were_killed_go_on_from_their_last_state(examples, language_model, tmp_path):
    reported: list[int] = []

    def kill_at_2(step, metrics):
        if step == 2:
            raise Killed

    together = CONFIG.model_copy(update={"num_processes": 2, "sharded": True})
    one, two = (
        TrainingJob(examples, config, language_model, tmp_path / name / "critic", device="cpu")
        for name, config in (("one", CONFIG), ("two", together))
    )
    with pytest.raises(Killed):
        train_in_processes(two, kill_at_2)
    again = train_in_processes(two, lambda step, metrics: reported.append(step))
    assert reported == [4]
    expected = load_file(train_in_processes(one, lambda step, metrics: None).folder / "model.safetensors")
    for name, tensor in load_file(again.folder / "model.safetensors").items():
        assert torch.allclose(tensor, expected[name], rtol=0, atol=1e-5), name


@pytest.mark.slow
def test_what_training_refuses_is_refused_in_the_same_words_by_several_processes(language_model, tmp_path):
    config = CONFIG.model_copy(update={"num_processes": 2})
    with pytest.raises(CriticDataError, match="no labelled step is left to train on"):
        train_in_processes(
            TrainingJob(StepExamples(()), config, language_model, tmp_path / "critic", device="cpu"),
            lambda step, metrics: None,
        )
    assert issubclass(CriticDataError, CriticError)
