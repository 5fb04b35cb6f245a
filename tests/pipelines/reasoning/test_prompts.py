"""Prompts against golden texts, and templates of the user's own."""

import json
from pathlib import Path

import pytest

from pipelines.config import AgentConfig
from pipelines.errors import WorkspaceError
from pipelines.inference.scripted import CharTokenizer
from pipelines.reasoning.prompts import STYLES, load_prompts

GOLDEN = Path(__file__).parents[2] / "golden" / "prompts.json"
PROBLEM = {"prompt": "12+7-5*3"}
STEPS = ["12+7=19", "19-5=13"]
AGENT = AgentConfig(name="critique_a", role_prompt="Check every calculation.")


def all_prompts(style: str) -> dict[str, str]:
    prompts = load_prompts(style)
    return {
        "solve": prompts.solve_prompt(PROBLEM),
        "critique": prompts.critique_prompt(AGENT, PROBLEM, STEPS),
        "refine": prompts.refine_prompt(PROBLEM, STEPS, "0 right\n1 wrong 19-5=14\nverdict 1"),
        "verify": prompts.verify_prompt(PROBLEM),
    }


def test_the_prompts_of_every_style_are_the_golden_ones():
    assert {style: all_prompts(style) for style in STYLES} == json.loads(GOLDEN.read_text())


def test_the_starter_prompts_are_the_formats_that_the_starter_was_trained_on():
    prompts = all_prompts("starter")
    assert prompts["solve"] == "<solve>12+7-5*3\n"
    assert prompts["critique"] == "<critique_a>12+7-5*3\n12+7=19\n19-5=13\n<review>\n"
    assert prompts["verify"] == "<verify>12+7-5*3\n"
    assert prompts["refine"] == (
        "<refine>12+7-5*3\n12+7=19\n19-5=13\n<review>\n0 right\n1 wrong 19-5=14\nverdict 1\n<revise>\n"
    )


def test_inserted_text_is_never_filled_in_again():
    prompt = load_prompts("starter").critique_prompt(AGENT, {"prompt": "what is {steps}?"}, ["\\boxed{critique}"])
    assert prompt == "<critique_a>what is {steps}?\n\\boxed{critique}\n<review>\n"


def test_the_chat_style_uses_the_chat_template_of_the_model():
    prompts, tokenizer = load_prompts("chat"), CharTokenizer()
    text = tokenizer.decode(prompts.encode(prompts.solve_prompt(PROBLEM), tokenizer))
    assert text.startswith("user: Solve the problem step by step.")
    assert text.endswith("12+7-5*3\n\nassistant: ")


def test_a_template_of_the_users_own_replaces_the_built_in_one_and_changes_the_digest(tmp_path):
    (tmp_path / "solve.txt").write_text("Q: {prompt}\nA: \\boxed{}\n")
    own, built_in = load_prompts("plain", tmp_path), load_prompts("plain", tmp_path / "absent")
    assert own.solve_prompt(PROBLEM) == "Q: 12+7-5*3\nA: \\boxed{}\n"
    assert own.verify_prompt(PROBLEM) == built_in.verify_prompt(PROBLEM)
    assert own.digest != built_in.digest == load_prompts("plain").digest


def test_a_template_that_would_hide_the_problem_is_refused(tmp_path):
    (tmp_path / "solve.txt").write_text("Solve it.")
    with pytest.raises(WorkspaceError, match=r"solve.txt does not contain \{prompt\}"):
        load_prompts("plain", tmp_path)
    (tmp_path / "solve.txt").write_bytes(b"\xff\xfe{prompt}")
    with pytest.raises(WorkspaceError, match="UTF-8"):
        load_prompts("plain", tmp_path)
