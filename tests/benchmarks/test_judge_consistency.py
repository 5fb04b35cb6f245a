import gzip
import json

import pytest

from pipelines.errors import SourceError
from tests.benchmarks.judge_consistency import FILES, as_markdown, measured, rate


def write(folder, name, rows):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path):
    def orders(straight, swapped):
        return {"swap = False": {"winner": straight}, "swap = True": {"winner": swapped}}

    def judged(index, strategy, *results):
        return {"subset": "s", "index": index, "evaluator": "e", "strategy": strategy, "results": list(results)}

    write(tmp_path, FILES[0], [
        judged(0, "Vanilla", orders("1", "1")), judged(1, "Vanilla", orders("1", "2")),
        judged(0, "Rating", {"score_1": ["5"], "score_2": ["7"]} | orders("2", "2")),
        judged(1, "Rating", {"score_1": ["5"], "score_2": ["5"]} | orders("2", "2")),
    ])  # fmt: skip
    decisions = {"p": ("A>B", "B>A"), "q": ("B>A", "B>A"), "r": (None, "A>B")}
    write(tmp_path, FILES[1], [
        {"pair_id": pair, "judge_name": "j", "judge_model": "m",
         "judgments": [one and {"decision": one} for one in both]}
        for pair, both in decisions.items()
    ] + [{"pair_id": "p", "judge_name": "reward_model", "judge_model": "x", "judgments": []}])  # fmt: skip
    write(tmp_path, FILES[2], [{"pair_id": pair, "question": pair} for pair in decisions])
    write(tmp_path, FILES[3], [
        {"question_id": 1, "turn": 1, "judge": ["g", ""], "g1_winner": "model_1", "g2_winner": "tie"},
    ])  # fmt: skip
    said = {"a_b": 1, "b_c": 1, "a_c": 2}
    write(tmp_path, FILES[4], [
        {"cmp_key": key, "instruction": "do", "input": "", "annotator1": label, "annotator2": 0, "annotator3": 1,
         "gpt_result": "garbage", "pandalm_result": label} for key, label in said.items()
    ])  # fmt: skip
    return tmp_path


def test_recorded_judges_are_measured_in_terms_of_what_was_shown(folder):
    rates = measured(folder)
    found = {(one.data, one.judge, one.measure): (one.num_bad, one.num_items, one.num_left_out) for one in rates}
    assert found == {
        ("llmbar", "e Vanilla", "position"): (1, 2, 0),
        ("judgebench", "m", "position"): (1, 2, 1),  # A both times; second shown both times; one unreadable
        ("mt-bench", "g", "position"): (1, 1, 0),
        # index 0: the first in both orders against 5 < 7; index 1: a tie by disagreement against 5 = 5
        ("llmbar", "e", "score_comparison"): (1, 2, 0),
        **{
            ("pandalm-testset", judge, f"{kind}_3"): (int(judge in circles and kind != "equalities"), 1, 0)
            for circles in [("person 1", "PandaLM-7B")]
            for judge in ("person 1", "person 2", "person 3", "PandaLM-7B")
            for kind in ("circles", "equalities", "bad")
        },
    }
    text = "\n".join(as_markdown(rates))
    assert "| judgebench | m | 0.500 | 0.000 to 1.000 | 2 | first twice 0, second twice 1, one tie 0 | 1 |" in text


def test_a_judge_without_a_bad_item_has_an_interval_all_the_same():
    none = rate("d", "j", "position", [1] * 10, [0] * 10, 0)
    assert (none.low, none.high) == (0.0, pytest.approx(1 - 0.025**0.1))


def test_what_is_missing_is_said(folder):
    (folder / FILES[2]).unlink()
    with pytest.raises(SourceError, match="lacks files: --data must name .* missing are judgebench/pairs.jsonl.gz"):
        measured(folder)
