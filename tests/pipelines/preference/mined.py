"""A method on rows written down in a test: its curation run as anybody's table would be."""

import pyarrow as pa

from pipelines.preference.methods import curation_named


def applied(name: str, rows: list[dict], **params: object) -> list[dict]:
    """The rows that the method gives for these, with the columns it says that it reads and writes."""
    curation = curation_named(name)
    known = {column.name for column in curation.reads}
    assert all(row.keys() <= known for row in rows), "the rows have columns that the method does not read"
    table = pa.table(
        {column.name: pa.array([row.get(column.name) for row in rows], column.kind) for column in curation.reads}
        | {"position": pa.array(range(len(rows)), pa.int64())}
    )
    made = curation.run(table, curation.params(**params))
    assert made.select(curation.writes.names).schema == curation.writes
    if curation.grain == "rows":
        assert made["position"].to_pylist() == list(range(len(rows)))
    return made.to_pylist()


def sides(rows: list[dict]) -> dict[tuple[str, str], float | None]:
    """(chosen id, rejected id) -> margin."""
    return {(row["chosen_id"], row["rejected_id"]): row["margin"] for row in rows}


def answer(name: str, score: float | None = None, problem: str = "p", **more: object) -> dict:
    """An answer whose text is its name."""
    return {"problem_id": problem, "response_id": name, "response": f"text {name}", "score": score} | more
