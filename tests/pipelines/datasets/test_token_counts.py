"""Tokens of text sets: one word is one token here, so that a reader can count."""

import pyarrow as pa

from pipelines.datasets.token_counts import SetTokens, TokenCounter

asked: list[str] = []


def words(texts: list[str]) -> list[int]:
    asked.extend(texts)
    return [len(text.split()) for text in texts]


def counted(set_name: str, *pieces: dict) -> SetTokens:
    counter = TokenCounter(set_name, "words", words, "\n")
    tables = [pa.table(piece) for piece in pieces]
    assert list(counter.counted(iter(tables))) == tables
    return counter.found()


def test_texts_are_counted_over_all_pieces_and_equal_ones_are_encoded_once():
    asked.clear()
    found = counted(
        "sft",
        {"prompt": ["a b", "a b", "c"], "completion": ["x y z", None, "x"]},
        {"prompt": ["a b"], "completion": ["y"]},
    )
    assert found == SetTokens("words", 2 + 2 + 1 + 2, 3 + 0 + 1 + 1)
    assert asked.count("a b") == 2  # once per piece


def test_both_sides_of_a_pair_and_all_steps_of_a_path_are_completions():
    assert counted("preference", {"prompt": ["a"], "chosen": ["b c"], "rejected": ["d"]}) == SetTokens("words", 1, 3)
    steps = {"prompt": ["a"], "completions": pa.array([["b c", "d"]], pa.list_(pa.string()))}
    assert counted("stepwise", steps) == SetTokens("words", 1, 3)
    assert asked[-1] == "b c\nd\n"  # as the policy wrote it
    assert counted("prompts", {"prompt": ["a b c"]}) == SetTokens("words", 3, 0)


def test_nothing_is_zero_and_what_is_not_known_is_null():
    assert counted("sft") == SetTokens("words", 0, 0)
    unknown = TokenCounter("sft", "words", None, "\n", "nobody counted")
    list(unknown.counted(iter([pa.table({"prompt": ["a"], "completion": ["b"]})])))
    assert unknown.found() == SetTokens("words", None, None, "nobody counted")
    assert unknown.found().to_json() is None
