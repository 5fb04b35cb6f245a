"""Small inputs for curation methods, with every column that the method reads."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipelines.catalogue import METHODS

Rows = Sequence[Mapping[str, object]]


def run_method(name: str, rows: Rows, **parameters: object) -> list[dict]:
    """The rows that the method of the catalogue makes; a column that a row lacks is its stand-in, or null."""
    curation = METHODS[name].curation
    columns = {"position": pa.array(range(len(rows)), pa.int64())}
    for column in curation.reads:
        values = [row.get(column.name, row.get(column.stand_in)) for row in rows]
        columns[column.name] = pa.array(values, column.kind)
    made = curation.run(pa.table(columns), curation.params(**parameters))
    if curation.grain == "rows":
        made = made.sort_by("position")
        assert made["position"].to_pylist() == list(range(len(rows)))
    return made.select(curation.writes.names).cast(curation.writes).to_pylist()


def group(name: str, *outcomes: float | None, **lists: Sequence[object]) -> list[dict]:
    """Rollouts `name0`, `name1`, ... of one problem; every keyword is a column with one value per rollout."""
    return [
        {"problem_id": name, "rollout_id": f"{name}{i}", "outcome_reward": outcome}
        | {key: values[i] for key, values in lists.items()}
        for i, outcome in enumerate(outcomes)
    ]


def reasons(made: Rows) -> list[str | None]:
    """Why each row goes; None where it stays."""
    assert all(row["kept"] == (row["reason"] is None) for row in made)
    return [row["reason"] for row in made]
