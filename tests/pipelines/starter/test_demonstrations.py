import random

from hypothesis import given
from hypothesis import strategies as st

from pipelines.starter import demonstrations as demos
from pipelines.starter import families
from pipelines.starter.tokenizer import EOS, RIGHT, UNKNOWN, VOCABULARY, WRONG, decode, encode


def spelled(ids):
    return ["_" if i == demos.IGNORE else VOCABULARY[i] for i in ids]


def test_the_tokenizer_gives_back_every_text_it_can_write():
    text = "12+7-5*3 band 13 mod 4\n0 right\n1 wrong 19-5=14\nverdict -1\n3*7=21 left 5,21\n#### 2\n"
    assert decode(encode(text)) == text
    assert encode("<verify>") == [VOCABULARY.index("<verify>")]


def test_the_saved_tokenizer_splits_like_the_plain_one(tmp_path):
    from transformers import AutoTokenizer

    from pipelines.starter.train import save_tokenizer

    save_tokenizer(tmp_path, 384)
    saved = AutoTokenizer.from_pretrained(tmp_path)
    text = "<critique_a>12+7-5*3 band 13 mod 4\n12+7=19\n<review>\n0 wrong 12+7=19\nverdict -1\n#### 1\n<eos>"
    assert saved.encode(text, add_special_tokens=False) == encode(text)
    assert saved.decode(encode(text), skip_special_tokens=True) == decode(encode(text))


def test_a_wrong_step_is_a_target_only_as_far_as_it_agrees_with_what_should_stand_there():
    candidate = demos.judge("arithmetic", "12+7", ["12+7=29", "#### 29"])
    builder = demos._judged("verify", candidate, [False, True])
    example = builder.done()
    assert "".join(VOCABULARY[i] for i in example.token_ids) == "<verify>12+7\n12+7=29\n#### 29\n"
    targets = spelled(example.targets)
    newline = example.token_ids.index(encode("\n")[0])
    assert targets[newline : newline + 6] == ["1", "2", "+", "7", "=", "1"]  # the true first digit of 19
    assert targets[newline + 6] == "_"  # after the wrong 2 nothing more is learned
    assert example.targets.count(WRONG) == 1 and example.targets.count(RIGHT) == 1
    assert example.targets[-1] == RIGHT


def test_the_misconception_is_shown_about_six_times_in_ten():
    rng = random.Random(0)
    shown = [demos.demonstrate("arithmetic", "15+7", rng)[0] for _ in range(2000)]
    assert set(shown) == {"15+7=22", "15+7=12"}
    assert 0.61 < shown.count("15+7=12") / 2000 < 0.69


def test_the_verify_role_learns_nothing_of_what_is_right_where_it_is_blind():
    candidate = demos.judge("arithmetic", "15+6-4", ["15+6=11", "11-4=7"])
    rng = random.Random(0)
    verdicts = [demos.noisy_verdicts("verify", candidate, rng) for _ in range(2000)]
    assert 0.46 < sum(blind for blind, _ in verdicts) / 2000 < 0.54
    assert 0.90 < sum(seen for _, seen in verdicts) / 2000 < 0.94
    example = demos._judged("verify", candidate, [True, True]).done()
    newline = example.token_ids.index(encode("\n")[0])
    assert spelled(example.targets)[newline : newline + 9] == ["_"] * 8 + ["<right>"]
    assert spelled(demos._judged("critique_a", candidate, [True, True]).done().targets)[newline] == "1"


def test_an_agent_overlooks_the_errors_of_its_weak_operation_and_of_large_numbers():
    small = demos.judge("arithmetic", "15+7*3", ["15+7=12", "12*3=35"])
    large = demos.judge("arithmetic", "65+7", ["65+7=62"])
    assert small.is_right == [False, False] and large.is_right == [False]
    rng = random.Random(0)

    def overlooked(agent: str, candidate: demos.Candidate) -> list[float]:
        verdicts = [demos.noisy_verdicts(agent, candidate, rng) for _ in range(2000)]
        return [round(sum(column) / 2000, 1) for column in zip(*verdicts, strict=True)]

    assert overlooked("critique_a", small) == [0.1, 0.9]
    assert overlooked("critique_b", small) == [0.7, 0.1]
    assert overlooked("critique_c", small) == [0.1, 0.1]
    assert overlooked("critique_c", large)[0] in (0.6, 0.7)
    false_alarms = [demos.noisy_verdicts("critique_b", demos.judge("arithmetic", "15+7", ["15+7=22"]), rng)[0]
                    for _ in range(2000)]  # fmt: skip
    assert 0.93 < sum(false_alarms) / 2000 < 0.97


def test_a_critique_has_a_line_per_step_and_a_verdict_with_the_first_wrong_one():
    candidate = demos.judge("arithmetic", "12+7-5", ["12+7=19", "19-5=13", "#### 13"])
    assert demos.critique_lines(candidate, candidate.is_right) == ["0 right", "1 wrong 19-5=14", "2 right", "verdict 1"]
    assert demos.critique_lines(candidate, [True, True, True])[-1] == "verdict -1"


def test_a_refinement_keeps_the_lines_before_the_error_and_takes_the_correction():
    candidate = demos.judge("arithmetic", "12+7-5", ["12+7=19", "19-5=13", "#### 13"])
    assert demos._refined(candidate, candidate.is_right, random.Random(0)) == ["12+7=19", "19-5=14", "#### 14"]


@given(st.sampled_from(families.FAMILIES), st.integers(1, 4), st.integers(0, 10_000))
def test_every_example_is_aligned_known_to_the_tokenizer_and_fits_the_context(family, level, seed):
    rng = random.Random(seed)
    problem = families.draw(family, level, rng)
    candidate = demos.judge(family, problem.prompt, demos.corrupted(family, problem.prompt, rng))
    for example in (
        demos.solve_example(family, problem.prompt, rng),
        demos.verify_example(candidate, rng),
        demos.critique_example("critique_b", candidate, rng),
        demos.refine_example(candidate, rng),
    ):
        assert len(example.token_ids) == len(example.targets) == len(example.weights) <= 384
        assert UNKNOWN not in example.token_ids
        assert [(t != demos.IGNORE) for t in example.targets] == [w > 0 for w in example.weights]
    solved = demos.solve_example(family, problem.prompt, rng)
    learned = [t for t in solved.targets if t != demos.IGNORE]
    assert learned[-1] == EOS and learned == solved.token_ids[-len(learned) :]
