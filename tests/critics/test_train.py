import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from transformers import LlamaForTokenClassification

import critics.train
from critics.checkpoint import code_digest, read_manifest, read_training_problems
from critics.errors import CheckpointError, CriticDataError, CriticMemoryError, VocabularyError
from critics.examples import StepExamples, examples_from_trees
from critics.fold import fold_of
from critics.metrics import auroc, pair_accuracy
from critics.model import initial_critic, load_encoder, outputs_at
from critics.score import load_critic
from critics.train import contrast_weight, learning_rate_at, train_process_critic
from pipelines.config import CriticConfig
from pipelines.errors import ConfigError
from tests.critics.conftest import table, verify_prompt

BASE = CriticConfig(
    steps=40, batch_size=32, learning_rate=3e-3, weight_decay=0.01, contrast_weight=1.0, anchor_weight=0.0,
    num_folds=3, validation_fraction=0.2, eval_every=10, patience=4, seed=0,
)  # fmt: skip


def make_config(**changes) -> CriticConfig:
    return BASE.model_copy(update=changes)


@pytest.fixture(scope="module")
def examples(toy_trees):
    return examples_from_trees(*toy_trees(60), verify_prompt)


@pytest.fixture(scope="module")
def trained(language_model, examples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("critics") / "critic"
    return train_process_critic(examples, make_config(), language_model, folder, data_version="gen-1", fold=1)


def test_the_critic_learns_which_sibling_is_right(trained):
    prompts = [f"<verify>{i}+9\n" for i in range(10)] * 2
    steps = [["a0", "a1c"]] * 10 + [["b0", "b1c"]] * 10
    scores = load_critic(trained.folder).score(prompts, steps)
    assert auroc([row[0] for row in scores], [True] * 10 + [False] * 10) > 0.95
    assert pair_accuracy([row[0] for row in scores[:10]], [row[0] for row in scores[10:]]) > 0.95
    assert trained.metrics["validation_sibling_accuracy"] > 0.95
    assert trained.metrics["validation_step_auroc"] > 0.95


def test_the_checkpoint_loads_in_plain_transformers(trained):
    model = LlamaForTokenClassification.from_pretrained(trained.folder)
    assert model.config.architectures == ["LlamaForTokenClassification"]
    assert (model.config.num_labels, model.score.weight.shape) == (1, (1, 32))
    scorer = load_critic(trained.folder)
    ids, ends = scorer._encoder.encode("<verify>1+9\n", ["a0", "b1c"])
    with torch.no_grad():
        probabilities = torch.sigmoid(model.eval()(input_ids=torch.tensor([ids])).logits[0, ends, 0])
    assert scorer.score(["<verify>1+9\n"], [["a0", "b1c"]])[0] == pytest.approx(probabilities.tolist(), abs=1e-6)


def test_the_manifest_says_what_the_critic_has_seen(trained, examples):
    manifest = read_manifest(trained.folder)
    seen = {p for p in examples.problem_ids if fold_of(p, 3) != 1}
    assert (manifest.fold, manifest.num_folds, manifest.data_version) == (1, 3, "gen-1")
    assert manifest.digest == trained.digest
    assert manifest.code_digest == code_digest()
    assert manifest.num_problems == len(seen)
    assert read_training_problems(trained.folder) == seen


@pytest.mark.slow
def test_equal_training_gives_equal_weights(trained, examples, language_model, tmp_path):
    again = train_process_critic(examples, make_config(), language_model, tmp_path / "critic", fold=1)
    assert again.digest == trained.digest
    other = train_process_critic(examples, make_config(seed=1), language_model, tmp_path / "other", fold=1)
    assert other.digest != trained.digest


class Killed(Exception):
    """Stands for the end of the process."""


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(trained, examples, language_model, tmp_path):
    seen_steps = []

    def kill_at_30(step, metrics):
        if step == 30:
            raise Killed

    with pytest.raises(Killed):
        train_process_critic(examples, make_config(), language_model, tmp_path / "c", on_metrics=kill_at_30, fold=1)
    assert not (tmp_path / "c").exists()
    resumed = train_process_critic(
        examples, make_config(), language_model, tmp_path / "c", fold=1,
        on_metrics=lambda step, metrics: seen_steps.append(step),
    )  # fmt: skip
    assert seen_steps == [40]
    assert resumed.digest == trained.digest
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_state_of_other_data_or_configuration_is_not_taken_up(examples, language_model, tmp_path):
    def kill(step, metrics):
        if step == 10:
            raise Killed

    with pytest.raises(Killed):
        train_process_critic(examples, make_config(steps=20), language_model, tmp_path / "c", on_metrics=kill)
    steps = []
    config = make_config(steps=20, learning_rate=1e-3)
    train_process_critic(
        examples, config, language_model, tmp_path / "c", on_metrics=lambda step, metrics: steps.append(step)
    )
    assert steps == [0, 10, 20]


def test_labels_that_teach_nothing_leave_the_initial_critic(examples, language_model, tmp_path):
    # validation problems say the opposite of the training problems, so every step makes it worse
    training, validation = examples.split(0.2, seed=0)
    opposite = [
        replace(tree, pairs=tuple(replace(p, better=p.worse, worse=p.better) for p in tree.pairs),
                labels=tuple(replace(lab, target=1 - lab.target) if lab.weight else lab for lab in tree.labels))
        for tree in validation.trees
    ]  # fmt: skip
    steps = []
    result = train_process_critic(
        StepExamples((*training.trees, *opposite)), make_config(steps=1000, patience=2), language_model, tmp_path / "c",
        on_metrics=lambda step, metrics: steps.append(step),
    )  # fmt: skip
    assert steps[-1] < 1000
    assert result.metrics["best_step"] < result.metrics["last_step"]


def test_an_anchor_keeps_the_critic_nearer_to_its_start(examples, language_model, tmp_path):
    moved = []
    for anchor_weight in (0.0, 100.0):
        config = make_config(steps=20, anchor_weight=anchor_weight, validation_fraction=0.0)
        critic = train_process_critic(examples, config, language_model, tmp_path / f"{anchor_weight}")
        scorer = load_critic(critic.folder)
        moved.append(scorer.score(["<verify>1+2\n"], [["b0"]])[0][0])
    initial = _initial_score(language_model)
    assert abs(moved[1] - initial) < abs(moved[0] - initial)


def test_no_labelled_step_is_an_error_that_says_how_many_trees_there_were(language_model, tmp_path):
    with pytest.raises(CriticDataError, match="0 trees"):
        train_process_critic(StepExamples(()), make_config(), language_model, tmp_path / "c")


def test_pairs_that_are_the_labels_are_learned_even_where_contrasts_are_switched_off():
    off = make_config(contrast_weight=0.0)
    assert contrast_weight(off) == 0.0
    assert contrast_weight(off.model_copy(update={"labels": "siblings"})) == 1.0
    assert contrast_weight(make_config(contrast_weight=0.5, labels="siblings")) == 0.5


def test_the_learning_rate_warms_up_and_falls_to_a_tenth():
    config = make_config(steps=100, learning_rate=1.0)
    assert learning_rate_at(0, config) == pytest.approx(0.1)
    assert learning_rate_at(9, config) == pytest.approx(1.0)
    assert learning_rate_at(10, config) == pytest.approx(1.0)
    assert learning_rate_at(55, config) == pytest.approx(0.55)
    assert learning_rate_at(100, config) == pytest.approx(0.1)


def _initial_score(folder):
    ids, ends = load_encoder(folder).encode("<verify>1+2\n", ["b0"])
    with torch.no_grad():
        return torch.sigmoid(initial_critic(folder, 0)(input_ids=torch.tensor([ids])).logits[0, ends[0], 0]).item()


def test_a_critic_that_starts_from_another_has_seen_what_that_one_saw(trained, examples, tmp_path):
    """Else the problems of its own fold would count as unseen, though its start has learned them."""
    config = make_config(steps=1)
    again = train_process_critic(examples, config, trained.folder, tmp_path / "critic", fold=0)
    assert read_training_problems(again.folder) == examples.problem_ids
    assert again.manifest.num_problems < len(examples.problem_ids)


def test_a_checkpoint_that_cannot_be_written_is_an_explained_error(examples, language_model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        train_process_critic(examples, make_config(steps=1), language_model, tmp_path / "file" / "critic")


def test_a_packed_step_has_the_loss_of_an_unpacked_one(examples, language_model, tmp_path):
    losses = {}
    for packing in ("chunks", "off"):
        of_steps = losses.setdefault(packing, [])
        train_process_critic(
            examples, make_config(steps=10, packing=packing), language_model, tmp_path / packing,
            on_metrics=lambda step, metrics, seen=of_steps: seen.append(metrics.get("loss")),
        )  # fmt: skip
    assert losses["chunks"][-1] == pytest.approx(losses["off"][-1], rel=1e-3)


def without_memory_for(num_tokens, error=torch.OutOfMemoryError):
    """The real forward pass on a machine whose memory holds fewer than `num_tokens` packed tokens."""

    def forward(critic, ids_BT, *places):
        if torch.is_grad_enabled() and ids_BT.numel() >= num_tokens:
            raise error(f"DefaultCPUAllocator: can't allocate memory: you tried to allocate {ids_BT.numel()} tokens")
        return outputs_at(critic, ids_BT, *places)

    return forward


def test_where_memory_does_not_suffice_batches_are_halved_and_the_run_goes_on(
    examples, language_model, tmp_path, monkeypatch, caplog
):
    config = make_config(steps=6, eval_every=3, contrast_weight=0.0)
    whole, halved = [], []
    for seen, folder in ((whole, "whole"), (halved, "halved")):
        critic = train_process_critic(
            examples, config, language_model, tmp_path / folder,
            on_metrics=lambda step, metrics, seen=seen: seen.append(metrics.get("num_nodes")),
        )  # fmt: skip
        monkeypatch.setattr(critics.train, "outputs_at", without_memory_for(100))
    assert critic.metrics["last_step"] == 6
    assert halved == whole
    warnings = [record.getMessage() for record in caplog.records if "memory" in record.getMessage()]
    assert len(warnings) == 1
    assert (
        "rows of at most 12 tokens do not fit into memory; from here on batches are evaluated in halves" in warnings[0]
    )


def test_torchs_own_error_of_a_full_memory_on_the_cpu_is_recognised_and_others_are_not_taken_for_it(
    examples, language_model, tmp_path, monkeypatch
):
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert critics.train.is_out_of_memory(caught.value)
    assert not critics.train.is_out_of_memory(RuntimeError("shapes do not fit"))
    monkeypatch.setattr(critics.train, "outputs_at", without_memory_for(100, RuntimeError))
    critic = train_process_critic(examples, make_config(steps=1), language_model, tmp_path / "c")
    assert critic.metrics["last_step"] == 1


def test_a_single_row_that_memory_does_not_hold_is_an_error_that_names_its_tree(
    examples, language_model, tmp_path, monkeypatch
):
    monkeypatch.setattr(critics.train, "outputs_at", without_memory_for(1))
    with pytest.raises(CriticMemoryError, match=r"step 0: one row of \d+ tokens of tree t\d+ does not fit"):
        train_process_critic(examples, make_config(steps=1), language_model, tmp_path / "c")


def test_low_rank_adapters_train_and_are_merged_into_a_plain_model(examples, language_model, tmp_path):
    config = make_config(steps=30, eval_every=30, lora_rank=4, gradient_checkpointing=True, precision="bfloat16")
    trained = train_process_critic(examples, config, language_model, tmp_path / "c")
    model, initial = LlamaForTokenClassification.from_pretrained(trained.folder), initial_critic(language_model, 0)
    assert set(model.state_dict()) == set(initial.state_dict())
    assert torch.equal(model.model.embed_tokens.weight, initial.model.embed_tokens.weight)  # no linear layer: as it was
    changed = model.model.layers[0].mlp.up_proj.weight - initial.model.layers[0].mlp.up_proj.weight
    assert torch.linalg.matrix_rank(changed, tol=1e-4).item() in range(1, 5)
    assert trained.metrics["validation_sibling_accuracy"] > 0.9


def test_a_character_without_a_token_is_an_error_that_names_tree_and_character(examples, language_model, tmp_path):
    plain = json.loads((language_model / "tokenizer.json").read_text())
    plain["model"]["unk_token"] = "<unk>"
    plain["model"]["vocab"]["<unk>"] = plain["model"]["vocab"].pop("c")
    folder = shutil.copytree(language_model, tmp_path / "other")
    (folder / "tokenizer.json").write_text(json.dumps(plain))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"unk_token": "<unk>"}))
    with pytest.raises(VocabularyError, match="no token for 'c' in the step of node 3 of tree t0: 'b0c'"):
        train_process_critic(examples, make_config(steps=1), folder, tmp_path / "c")


def test_a_few_steps_that_cannot_be_read_are_left_out_and_said_once(toy_trees, language_model, tmp_path, caplog):
    """Of 12 trees of 4 labelled steps one has a first step with a character that no token is for, and two below it."""
    problems, nodes = toy_trees(12)
    plain = json.loads((language_model / "tokenizer.json").read_text())
    plain["model"]["unk_token"] = "<pad>"
    folder = shutil.copytree(language_model, tmp_path / "other")
    (folder / "tokenizer.json").write_text(json.dumps(plain))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"unk_token": "<pad>"}))
    rows = nodes.to_pylist()
    rows[6] |= {"step_text": "a€"}  # node 1 of tree t1
    examples = examples_from_trees(problems, table("search_nodes", rows), verify_prompt)
    config = make_config(steps=1, eval_every=1, validation_fraction=0.0)
    trained = train_process_critic(examples, config, folder, tmp_path / "c")
    assert trained.metrics["num_nodes"] == 12 * 4 - 3
    (warning,) = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert warning.startswith("3 of 48 labelled steps are left out") and "step of node 1 of tree t1" in warning
    with pytest.raises(VocabularyError, match="no token for '€' .*; so 3 of 48 labelled steps cannot be read"):
        train_process_critic(examples, make_config(max_cut_share=0.05), folder, tmp_path / "d")


def test_a_tokenizer_of_another_model_is_an_error_with_both_sizes(language_model, tmp_path):
    folder = shutil.copytree(language_model, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 12}))
    with pytest.raises(VocabularyError, match=r"token ids up to 29, its network only 12 embeddings \(0 to 11\)"):
        load_encoder(folder)


def test_too_many_steps_beyond_the_context_are_an_error_with_both_numbers(examples, language_model, tmp_path):
    """A prompt of 4 tokens, first steps of 3, second steps of 4: of four labelled steps of a tree two end at 11."""
    folder = shutil.copytree(language_model, tmp_path / "short")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 10}))
    with pytest.raises(CriticDataError, match=r"120 of 240 labelled steps end beyond .* 10 tokens .*node 3 of tree t0"):
        train_process_critic(examples, make_config(steps=1), folder, tmp_path / "c")
    trained = train_process_critic(examples, make_config(steps=1, max_cut_share=0.5), folder, tmp_path / "c")
    assert trained.metrics["num_nodes"] == 240


FOREIGN_READER = """
import sys
from safetensors.torch import load_file
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer
folder = sys.argv[1]
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForTokenClassification.from_pretrained(folder)
assert set(load_file(folder + "/model.safetensors")) == set(model.state_dict())
ids = tokenizer(["<verify>1+9\\n", "a0\\n", "b1c\\n"], add_special_tokens=False)["input_ids"]
with torch.no_grad():
    logits = model.eval()(torch.tensor([sum(ids, [])])).logits[0, :, 0]
assert not {"critics", "pipelines"} & set(sys.modules)
print(*torch.sigmoid(logits[[len(ids[0]) + len(ids[1]) - 1, -1]]).tolist())
"""


@pytest.mark.slow
def test_plain_transformers_in_a_process_without_our_code_gives_the_same_scores(trained, tmp_path):
    command = [sys.executable, "-I", "-c", FOREIGN_READER, str(trained.folder)]
    read = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    scores = load_critic(trained.folder).score(["<verify>1+9\n"], [["a0", "b1c"]])[0]
    assert [float(number) for number in read.stdout.split()] == pytest.approx(scores, abs=1e-5)


def test_flex_attention_cannot_train_on_the_cpu_and_says_what_can(examples, language_model, tmp_path):
    with pytest.raises(ConfigError, match='trains on GPUs only.*set "chunks"'):
        train_process_critic(examples, make_config(packing="flex"), language_model, tmp_path / "c", device="cpu")
