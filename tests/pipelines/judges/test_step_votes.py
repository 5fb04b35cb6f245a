import math

import pyarrow as pa
import pytest

from pipelines.judges.step_votes import CURATION, WRITES, StepVotesParams, run


def votes(*rows: tuple) -> pa.Table:
    schema = pa.schema([("position", pa.int64()), *((one.name, one.kind) for one in CURATION.reads)])
    names = ("rollout_id", "agent", "step_verdicts", "weight")
    given = [{"position": i, **dict(zip(names, row, strict=False))} for i, row in enumerate(rows)]
    return pa.Table.from_pylist(given, schema=schema)


R, W = "right", "wrong"


def test_agents_vote_step_by_step():
    table = votes(("r", "a", [R, W, R]), ("r", "b", [R, W, W]), ("r", "c", [R, R, R]), ("s", "a", [R]))
    first, second = run(table, StepVotesParams()).to_pylist()
    assert (first["verdict"], first["first_error_step"], first["num_agents"]) == ("wrong", 1, 3)
    assert first["confidence"] == pytest.approx(2 / 3)
    assert first["wrong_shares"] == pytest.approx([0.0, 2 / 3, 1 / 3])
    assert (second["verdict"], second["first_error_step"], second["confidence"]) == ("right", -1, 1.0)
    # more than 2/3 must say so: the majority is overruled
    assert run(table, StepVotesParams(threshold=0.7))["verdict"].to_pylist() == ["right", "right"]


def test_weights_count_and_an_agent_has_one_vote():
    table = votes(("r", "a", [W], 3.0), ("r", "b", [R], None), ("r", "c", [R], 1.0), ("r", "b", [W]))
    row = run(table, StepVotesParams()).to_pylist()[0]
    assert (row["verdict"], row["confidence"], row["num_agents"]) == ("wrong", 0.6, 3)


def test_judgments_that_cannot_be_read_have_no_vote():
    bad = [("r", "a", None), ("r", "b", []), ("r", "c", ["maybe"]), ("r", "d", [R, None]), ("r", "e", [W], 0.0),
           ("r", "f", [W], math.nan), ("r", "g", [W], -1.0), ("r", "h", [W], math.inf)]  # fmt: skip
    nobody = run(votes(*bad), StepVotesParams()).to_pylist()[0]
    assert (nobody["verdict"], nobody["confidence"], nobody["num_unreadable"]) == (None, None, 8)
    assert nobody["reason"] == "no_judgement"
    one = run(votes(*bad, ("r", "z", [R])), StepVotesParams()).to_pylist()[0]
    assert (one["verdict"], one["num_agents"], one["num_unreadable"], one["reason"]) == ("right", 1, 8, None)
    empty = run(votes(), StepVotesParams())
    assert (empty.num_rows, empty.schema) == (0, WRITES)
