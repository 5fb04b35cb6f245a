"""Which texts are behind the counts of a version's contamination certificate: the certificate itself only counts."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipelines.audit.contamination import Benchmark, ContaminationParams, benchmark_of, overlaps, read_benchmark
from pipelines.config import Settings
from pipelines.warehouse import Warehouse

MAX_SHOWN = 20


@dataclass(frozen=True)
class SharedWords:
    """A text of a training set and a test item that it shares words with.

    Attributes:
        num_rows: rows of the set that have this text.
        item: id of a held-out problem, or file:line of a benchmark; item_text: its statement, None of a benchmark.
        share: of the text's word sequences, those that the item has.
    """

    set_name: str
    num_rows: int
    text: str
    item: str
    item_text: str | None
    share: float


def shared_words(
    settings: Settings, warehouse: Warehouse, night: str, manifest: Mapping[str, object] | None
) -> list[SharedWords]:
    """The pairs that a version's certificate counts, looked up again in the night's tables; the closest ones first.

    Empty where it counts none. SourceError where a benchmark that it tested cannot be read any more.
    """
    found = manifest.get("contamination") if manifest else None
    if not isinstance(found, Mapping) or not _num_contaminated(found):
        return []
    texts = warehouse.named("datasets/set_prompts", night=night)
    problems = {row["problem_id"]: row["prompt"] for row in warehouse.named("datasets/held_out_prompts").to_pylist()}
    files = tuple(str(settings.in_workspace(path)) for path in settings.publishing.benchmarks)
    params = ContaminationParams(
        benchmark=files or ("held-out problems",), field=settings.publishing.benchmark_field,
        n=found["n"], min_words=found["min_words"],
    )  # fmt: skip
    held_out = [(prompt, name) for name, prompt in problems.items()]
    benchmarks = [benchmark_of("held-out problems", "", held_out, params)]
    benchmarks += [read_benchmark(params)] if files else []
    pairs = [pair for benchmark in benchmarks for pair in _pairs(texts, benchmark, params, problems)]
    return sorted(pairs, key=lambda pair: (-pair.share, pair.set_name, pair.text))[:MAX_SHOWN]


def _num_contaminated(certificate: Mapping[str, object]) -> int:
    return sum(of["num_contaminated"] for words in certificate["by_words"] for of in words["sets"].values())


def _pairs(
    texts: pa.Table, benchmark: Benchmark, params: ContaminationParams, problems: Mapping[str, str]
) -> list[SharedWords]:
    of_position = {row["position"]: row for row in texts.to_pylist()}
    found = overlaps(texts.select(["position", "text"]), benchmark, params)
    return [
        SharedWords(row["set_name"], row["num_rows"], row["text"], hit["test_item"], problems.get(hit["test_item"]),
                    hit["score"])
        for hit in found.to_pylist() if hit["reason"] == "benchmark_overlap"
        for row in [of_position[hit["position"]]]
    ]  # fmt: skip
