"""Every format on rows whose result one can write down."""

import math

import pyarrow as pa
import pytest
from published_worlds import ASKED, RIGHT, ROWS, WRONG

from pipelines.datasets.formats import FORMATS, format_named, user_text_of
from pipelines.errors import FormatError
from pipelines.rows import rows_to_table
from pipelines.tables import TRAINING_SETS


def converted(name: str, rows: list[dict] | None = None) -> list[dict]:
    form = FORMATS[name]
    table = rows_to_table(form.reads[0], ROWS[form.reads[0]] if rows is None else rows)
    made = form.convert(table)
    assert made.schema.equals(form.schema)
    return made.to_pylist()


def test_every_set_has_a_format_and_every_format_reads_a_set_or_the_splices():
    assert {name for form in FORMATS.values() for name in form.reads} == {*TRAINING_SETS, "splices"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_of_no_rows_is_an_empty_table_of_its_schema(name):
    assert converted(name, []) == []


def test_supervised_rows_keep_prompt_completion_and_ids():
    assert converted("trl_sft")[0] == {
        "prompt": ASKED["p"], "completion": RIGHT["p"], "problem_id": "p", "rollout_id": "r-p"
    }  # fmt: skip


def test_messages_without_a_template_hold_the_texts_as_they_are():
    assert converted("messages")[0]["messages"] == [
        {"role": "user", "content": "<solve>1+2\n"}, {"role": "assistant", "content": "1+2=3\n#### 3\n"},
    ]  # fmt: skip


def test_a_template_gives_the_users_words_back_and_makes_the_same_prompt_of_them():
    def render(text: str) -> str:
        return f"<|user|>{text.strip()}<|end|><|assistant|>"

    form = FORMATS["messages"].with_template(user_text_of(render))
    rows = [ROWS["sft"][0] | {"prompt": render("What is 1+2?")}]
    user = form.convert(rows_to_table("sft", rows)).to_pylist()[0]["messages"][0]
    assert user == {"role": "user", "content": "What is 1+2?"}


@pytest.mark.parametrize("prompt", ["<|user|>1+2<|assistant|>", "1+2", "<|user|> 1+2<|end|><|assistant|>"])
def test_a_prompt_that_the_template_does_not_make_is_refused_with_what_it_would_look_like(prompt):
    user_text = user_text_of(lambda text: f"<|user|>{text.strip()}<|end|><|assistant|>")
    with pytest.raises(FormatError, match=r"begin with '<\|user\|>' and end with '<\|end\|><\|assistant\|>'"):
        user_text(prompt)


def test_a_template_that_changes_words_is_refused():
    with pytest.raises(FormatError, match="changes the words"):
        user_text_of(lambda text: "<|user|>")


def test_only_reward_rows_have_the_margin_that_reward_trainers_subtract():
    assert converted("trl_preference")[0] == {
        "prompt": ASKED["p"], "chosen": RIGHT["p"], "rejected": WRONG["p"], "weight": 1.0, "method": "rollout_pairs",
        "problem_id": "p", "pair_id": "x-p",
    }  # fmt: skip
    assert converted("trl_reward")[0]["margin"] == 0.5


def test_a_missing_margin_is_named_with_its_pair():
    rows = [ROWS["preference"][0], ROWS["preference"][1] | {"margin": None}]
    with pytest.raises(FormatError, match=r"margin is null.*problem_id q, pair_id x-q"):
        converted("trl_reward", rows)


def test_a_text_that_is_chosen_and_rejected_has_no_label_and_equal_texts_come_once():
    pair = ROWS["preference"][0]
    rows = [pair | {"chosen": "a", "rejected": "b"}, pair | {"chosen": "a", "rejected": "c"},
            pair | {"chosen": "c", "rejected": "d"}]  # fmt: skip
    found = {row["completion"]: row["label"] for row in converted("trl_unpaired", rows)}
    assert found == {"a": True, "b": False, "d": False}


def test_steps_keep_their_labels_and_evidence():
    row = converted("stepwise")[0]
    assert (row["completions"], row["labels"]) == (["1+2=3", "#### 4"], [True, False])
    assert (row["soft_labels"], row["visit_counts"]) == ([0.5, 0.0], [4, 2])


def test_prompts_keep_the_answer_under_the_name_that_a_reward_function_reads():
    row = converted("trl_grpo")[1]
    assert (row["prompt"], row["reference_answer"], row["difficulty"]) == (ASKED["q"], "5", 2)


def test_verl_rows_have_messages_a_ground_truth_and_an_index_that_depends_on_the_problem_alone():
    first, second = converted("verl_rl")
    assert first["prompt"] == [{"role": "user", "content": ASKED["p"]}]
    assert first["data_source"] == "reasonmill/arithmetic"
    assert first["reward_model"] == {"style": "rule", "ground_truth": "3"}
    assert first["extra_info"]["difficulty"] == 1
    assert first["extra_info"]["index"] != second["extra_info"]["index"]
    assert converted("verl_rl", ROWS["prompts"][1:])[0]["extra_info"] == second["extra_info"]
    assert 0 <= first["extra_info"]["index"] < 2**60


def test_a_prompt_without_a_reference_answer_cannot_be_rewarded_by_rule():
    with pytest.raises(FormatError, match="reward_model is null"):
        converted("verl_rl", [ROWS["prompts"][0] | {"reference_answer": None}])


def test_verl_rows_that_train_judging_have_an_index_each_though_they_share_a_problem():
    rows = [ROWS["prompts"][0] | {"family": "judge_pointwise", "prompt": ASKED["p"] + text} for text in ("a", "b")]
    assert len({row["extra_info"]["index"] for row in converted("verl_rl", [*ROWS["prompts"], *rows])}) == 4


def test_openrlhf_rows_have_its_default_keys():
    assert converted("openrlhf_sft")[0]["output"] == RIGHT["p"]
    assert converted("openrlhf_prompts")[0] == {
        "input": ASKED["p"], "label": "3", "datasource": "arithmetic", "problem_id": "p"
    }  # fmt: skip
    assert converted("openrlhf_preference")[0]["margin"] == 0.5


def test_groups_leave_as_they_are():
    assert converted("rl_groups") == [row | {"night": None} for row in ROWS["rl_groups"]]


def test_token_weights_are_the_probabilities_of_right_completions_and_prompts_are_masked():
    first, second = converted("token_weights")  # r2 and r4 are wrong
    assert (first["rollout_id"], second["rollout_id"]) == ("r1", "r3")
    assert (first["input_ids"], first["labels"]) == ([2, 23, 25, 1], [-100, -100, 25, 1])
    assert first["token_weights"] == pytest.approx([0.0, 0.0, math.exp(-0.5), math.exp(-0.5)])


def test_a_log_probability_above_zero_is_no_weight():
    with pytest.raises(FormatError, match="token_weights is null.*rollout_id r1"):
        converted("token_weights", [ROWS["rl_groups"][0] | {"behaviour_logprobs": [0.5, -1.0]}])


def test_of_a_splice_only_the_turn_and_the_right_steps_are_learned():
    rows = [ROWS["splices"][0] | {"prompt": ASKED["p"], "prefix_steps": ["1=1"]}]
    assert converted("spliced_sft", rows) == [
        {"prompt": "<solve>1+2\n1=1\n1+2=4\n", "completion": "No.\n1+2=3\n#### 3\n", "problem_id": "p",
         "splice_id": "s"}
    ]  # fmt: skip


def test_rows_of_another_table_are_refused():
    with pytest.raises(FormatError, match="no column completion; they have prompt"):
        FORMATS["trl_sft"].convert(pa.table({"prompt": ["a"]}))


def test_an_unknown_format_is_told_with_near_names():
    with pytest.raises(FormatError, match="did you mean trl_sft"):
        format_named("trl_stf")
