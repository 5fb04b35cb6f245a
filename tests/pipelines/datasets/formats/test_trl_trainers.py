"""Each of TRL's trainers takes two steps on the starter policy with the files that an export writes for it."""

from pathlib import Path

import pytest
from published_worlds import ASKED, NIGHT, RIGHT, ROWS, make_lake

from pipelines.datasets.formats import FORMATS, PLAIN_TEMPLATE
from pipelines.datasets.formats.export import export
from pipelines.publishing import publish
from pipelines.starter.tokenizer import EOS, decode

pytestmark = pytest.mark.slow

STARTER = Path(__file__).parents[4] / "pipelines" / "starter" / "weights"
SHORT = {"max_steps": 2, "per_device_train_batch_size": 2, "use_cpu": True, "bf16": False, "report_to": "none",
         "disable_tqdm": True, "logging_steps": 1, "save_strategy": "no", "learning_rate": 1e-3}  # fmt: skip


def rows_of(tmp_path, name: str):
    """The rows of a format as `datasets` reads them from the exported file."""
    from datasets import load_dataset

    settings, lake = make_lake(tmp_path)
    (written,) = export(publish(settings, lake, NIGHT), FORMATS[name], tmp_path / f"{name}.parquet", lake=lake)
    return load_dataset("parquet", data_files=str(written.path), split="train", cache_dir=str(tmp_path / "cache"))


def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(STARTER)


def losses(trainer) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def sft_trainer(tmp_path, name: str, processing_class=None, **arguments):
    from trl import SFTConfig, SFTTrainer

    config = SFTConfig(output_dir=str(tmp_path / "out"), **SHORT, **arguments)
    return SFTTrainer(
        str(STARTER),
        args=config,
        train_dataset=rows_of(tmp_path, name),
        processing_class=processing_class or tokenizer(),
    )


def test_supervised_fine_tuning_learns_the_completion_and_the_end_token_alone(tmp_path):
    trainer = sft_trainer(tmp_path, "trl_sft")
    row = trainer.train_dataset[0]
    learned = [token for token in row["labels"] if token != -100]
    assert decode(learned) == RIGHT["p"] and learned[-1] == EOS
    assert decode(row["input_ids"]).endswith("1+2\n" + RIGHT["p"])
    first, last = losses(trainer)
    assert last < first


def test_messages_come_out_of_a_plain_template_as_the_texts_they_were(tmp_path):
    plain = tokenizer()
    plain.chat_template = PLAIN_TEMPLATE
    trainer = sft_trainer(tmp_path, "messages", plain)
    assert plain.decode(trainer.train_dataset[0]["input_ids"]) == ASKED["p"] + RIGHT["p"] + "<eos>"
    assert len(losses(trainer)) == 2


def test_token_rows_are_taken_with_their_masks(tmp_path):
    trainer = sft_trainer(tmp_path, "token_weights")
    assert trainer.train_dataset[0]["labels"] == [-100, -100, 25, 1]
    assert len(losses(trainer)) == 2


def test_of_splices_the_wrong_steps_are_masked(tmp_path):
    trainer = sft_trainer(tmp_path, "spliced_sft")
    row = trainer.train_dataset[0]
    masked = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label == -100]
    assert decode(masked).endswith("1+2=4\n")
    assert len(losses(trainer)) == 2


def test_dft_weighs_the_same_rows_by_the_policy_that_is_trained(tmp_path):
    assert len(losses(sft_trainer(tmp_path, "trl_sft", loss_type="dft"))) == 2


def test_preference_optimisation(tmp_path):
    from trl import DPOConfig, DPOTrainer

    config = DPOConfig(output_dir=str(tmp_path / "out"), **SHORT)
    trainer = DPOTrainer(
        str(STARTER), args=config, train_dataset=rows_of(tmp_path, "trl_preference"), processing_class=tokenizer()
    )
    row = trainer.train_dataset[0]
    assert decode(row["prompt_ids"]) == "1+2\n" and decode(row["chosen_ids"]) == RIGHT["p"]
    first, last = losses(trainer)
    assert first == pytest.approx(0.693, abs=1e-3) and last < first  # log 2 where policy and reference are one


def test_reward_models_subtract_the_margin(tmp_path):
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    model = AutoModelForSequenceClassification.from_pretrained(STARTER, num_labels=1)
    config = RewardConfig(output_dir=str(tmp_path / "out"), **SHORT)
    trainer = RewardTrainer(
        model, args=config, train_dataset=rows_of(tmp_path, "trl_reward"), processing_class=tokenizer()
    )
    assert trainer.train_dataset[0]["margin"] == 0.5
    assert decode(trainer.train_dataset[0]["chosen_ids"]).endswith(RIGHT["p"])
    assert len(losses(trainer)) == 2


def test_unpaired_preference_optimisation(tmp_path):
    from trl import KTOConfig, KTOTrainer

    config = KTOConfig(output_dir=str(tmp_path / "out"), **SHORT)
    rows = rows_of(tmp_path, "trl_unpaired")
    assert sorted(rows["label"]) == [False, False, True, True]
    trainer = KTOTrainer(str(STARTER), args=config, train_dataset=rows, processing_class=tokenizer())
    assert len(losses(trainer)) == 2


def test_rewards_of_grpo_read_the_reference_answer(tmp_path):
    from trl import GRPOConfig, GRPOTrainer

    seen = set()

    def is_right(completions, reference_answer, **columns):
        seen.update(reference_answer)
        assert {"problem_id", "family", "difficulty"} <= columns.keys()
        return [float(text.rstrip().endswith(f"#### {answer}")) for text, answer in
                zip(completions, reference_answer, strict=True)]  # fmt: skip

    config = GRPOConfig(output_dir=str(tmp_path / "out"), num_generations=2, max_completion_length=24, **SHORT)
    trainer = GRPOTrainer(
        str(STARTER), is_right, args=config, train_dataset=rows_of(tmp_path, "trl_grpo"), processing_class=tokenizer()
    )
    assert len(losses(trainer)) == 2
    assert seen <= {row["reference_answer"] for row in ROWS["prompts"]} and seen


@pytest.mark.parametrize("name", ["stepwise", "rl_groups", "verl_rl", "openrlhf_sft"])
def test_formats_without_a_trainer_here_load_with_their_types(tmp_path, name):
    rows = rows_of(tmp_path, name)
    assert rows.column_names == FORMATS[name].schema.names
    assert rows[0] == FORMATS[name].convert(_table(tmp_path, name)).to_pylist()[0]


def _table(tmp_path, name: str):
    from pipelines.rows import rows_to_table

    source = FORMATS[name].reads[0]
    return rows_to_table(source, [row | {"night": NIGHT} for row in ROWS[source]])
