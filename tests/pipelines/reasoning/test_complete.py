"""Completions are cut into steps whose tokens are exactly those that were sampled."""

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reasoning_worlds import GRADING, NIGHT, STARTER, ScriptedSession, make_config, make_problem, solve_two_plus_three

from pipelines.inference.scripted import EOS_ID, CharTokenizer
from pipelines.inference.types import Sample
from pipelines.reasoning.complete import make_complete, sample_steps
from pipelines.search.types import Path


def make_sample(text: str, finish_reason: str = "stop", logprob: float = -0.5) -> Sample:
    ids = CharTokenizer().encode(text) + ([EOS_ID] if finish_reason == "stop" else [])
    return Sample(tuple(ids), text, (logprob,) * len(ids), finish_reason)


def steps_of(sample: Sample) -> list:
    return list(sample_steps(sample, "r1", CharTokenizer(), "\n"))


def test_every_step_has_its_own_tokens_and_only_the_last_is_terminal():
    steps = steps_of(make_sample("1+2=3\n#### 3\n"))
    assert [step.step_text for step in steps] == ["1+2=3", "#### 3"]
    assert [CharTokenizer().decode(step.token_ids) for step in steps] == ["1+2=3\n", "#### 3\n"]
    assert [step.is_terminal for step in steps] == [False, True]
    assert [step.sum_logprob for step in steps] == [-3.0, -3.5]


def test_blank_lines_go_with_the_step_before_them_and_at_the_start_with_the_next():
    steps = steps_of(make_sample("\n1+2=3\n\n#### 3"))
    assert [CharTokenizer().decode(step.token_ids) for step in steps] == ["\n1+2=3\n\n", "#### 3"]
    assert steps[-1].token_ids[-1] == EOS_ID


def test_what_follows_the_answer_is_dropped_also_where_a_limit_cut_it_off():
    steps = steps_of(make_sample("#### 3\nand now", "length"))
    assert [step.step_text for step in steps] == ["#### 3"]
    assert steps[0].finish_reason == "stop"


def test_a_solution_that_a_limit_cut_off_says_so_in_its_last_step():
    assert [step.finish_reason for step in steps_of(make_sample("1+2=3\n3+", "length"))] == ["stop", "length"]


@pytest.mark.parametrize("sample", [make_sample(""), make_sample(" \n "), make_sample("1+2=3", logprob=float("nan"))])
def test_a_sample_without_text_or_with_broken_log_probabilities_has_no_steps(sample):
    assert steps_of(sample) == []


def ends_token_by_token(sample: Sample) -> list[int]:
    """Where steps end, by looking after every token."""
    ends, start = [], 0
    for end in range(1, len(sample.token_ids) + 1):
        text, is_last = CharTokenizer().decode(sample.token_ids[start:end]), end == len(sample.token_ids)
        if not text.strip() and ends and (is_last or "\n" in text):
            ends[-1], start = end, end
        elif text.strip() and (is_last or "\n" in text.lstrip()):
            ends.append(end)
            start = end
            if "####" in text:
                break
    return ends


@given(st.lists(st.sampled_from(["a", "bcd", "\n", "\n\n", " ", "  ", "#### 4", "\t"]), max_size=24).map("".join))
@example("\n a\n \n  \n b\n\n\n #### 4\n \na")
def test_the_leaps_find_the_ends_that_a_look_after_every_token_finds(text):
    sample = make_sample(text)
    steps = steps_of(sample)
    expected = ends_token_by_token(sample) if text.strip() else []
    lengths = [len(step.token_ids) for step in steps]
    assert [sum(lengths[: index + 1]) for index in range(len(lengths))] == expected


def test_a_long_step_is_read_a_few_times_and_not_once_per_token():
    num_read = 0

    class Counting(CharTokenizer):
        def decode(self, ids):
            nonlocal num_read
            num_read += len(ids)
            return super().decode(ids)

    text = "1+" * 2000 + "\n#### 3\n"
    assert len(list(sample_steps(make_sample(text), "r1", Counting(), "\n"))) == 2
    assert num_read < 20 * len(text)  # once per token would be 2,000 times its length


def completions(path: Path, num_samples: int = 8, **changes: object) -> list:
    session = ScriptedSession(solve_two_plus_three)
    known = GRADING | {"night": NIGHT} | changes
    return asyncio.run(make_complete(session, STARTER, make_config(), **known)(path, num_samples))


def test_continuations_are_graded_and_start_after_the_path():
    found = completions(Path(make_problem(), ()))
    assert {(one.answer, one.outcome_reward) for one in found} == {("5", 1.0), ("6", 0.0)}
    first = found[0].steps[0]
    rest = completions(Path(make_problem(), (first,)))
    assert {tuple(step.step_text for step in one.steps) for one in rest} == {(f"#### {first.step_text[-1]}",)}


def test_without_grades_the_answers_stay_and_the_rewards_are_unknown():
    found = completions(Path(make_problem(), ()), grade=None)
    assert {one.answer for one in found} == {"5", "6"}
    assert {one.outcome_reward for one in found} == {None}


def test_another_draw_asks_for_other_samples_and_the_same_draw_for_the_same():
    texts = [[one.answer for one in completions(Path(make_problem(), (), draw), 16)] for draw in (0, 1, 0)]
    assert texts[0] == texts[2] != texts[1]


def test_nothing_follows_a_complete_path_or_one_that_fills_the_context():
    whole = completions(Path(make_problem(), ()))[0]
    assert completions(Path(make_problem(), whole.steps)) == []
    assert completions(Path(make_problem(), whole.steps[:1]), max_model_len=4) == []
