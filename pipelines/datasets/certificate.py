"""The contamination certificate of a version: its prompts against held-out problems and named benchmarks.

Two tests, both said with what they covered, because a test that could look at nothing also finds nothing:
- by problem: rows whose `problem_id` is a held-out or frozen evaluation problem (there should be none); rows whose
  problem is not in the lake are counted as unknown, since they may be either;
- by words: n words in a row that a problem's statement shares with a test item, after
  `pipelines/audit/contamination.py`. The statement is tested, without the template that a prompt puts round it; each
  distinct one of a set once, for all of its rows. What is shorter than `min_words` is found where it equals a test
  item, else it is not tested and counted as such.
Texts that the model wrote are not tested: they answer these problems.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.audit.contamination import Benchmark, ContaminationParams, benchmark_of, overlaps, read_benchmark
from pipelines.config import Settings
from pipelines.duplicates.normal_text import OVERLAP_RULE
from pipelines.errors import ConfigError
from pipelines.warehouse import Warehouse

HELD_OUT = "held-out problems"
OVERLAP = "benchmark_overlap"


def certificate(settings: Settings, warehouse: Warehouse, night: str) -> dict[str, object]:
    """What was tested and found; SourceError where a benchmark that `publishing.benchmarks` names cannot be read."""
    held_out = warehouse.named("datasets/held_out_rows", night=night).to_pylist()
    prompts = warehouse.named("datasets/set_prompts", night=night)
    items = warehouse.named("datasets/held_out_prompts").to_pylist()
    params = benchmark_params(settings)
    digest = hashlib.sha256(json.dumps([[row["problem_id"], row["prompt"]] for row in items]).encode()).hexdigest()
    texts = [(row["prompt"], row["problem_id"]) for row in items]
    benchmarks = [benchmark_of(HELD_OUT, digest, texts, params)]
    if settings.publishing.benchmarks:
        benchmarks.append(read_benchmark(params))
    return {
        "by_problem": {
            row["set_name"]: {key: row[key] for key in ("num_held_out", "num_evaluation", "num_unknown")}
            for row in held_out
        },
        "normalisation": OVERLAP_RULE,
        "n": params.n,
        "min_words": params.min_words,
        "prompts_sha256": hashlib.sha256(json.dumps(prompts["text"].to_pylist()).encode()).hexdigest(),
        "by_words": [_test(prompts, benchmark, params) for benchmark in benchmarks],
    }


def without_overlaps(problems: pa.Table, settings: Settings) -> tuple[pa.Table, int]:
    """The problems with another split than `train` where a statement shares words with an item of
    `publishing.benchmarks`, by the test of the certificate; and how many training problems that are.

    Raises SourceError where a file cannot be read, and ConfigError where none is named.
    """
    if not settings.publishing.benchmarks:
        raise ConfigError(
            "training_sets.leave_out_overlaps = true needs test items: name files of them in publishing.benchmarks."
        )
    params = benchmark_params(settings)
    is_train = pc.equal(problems["split"], "train")
    texts = pa.table({"position": pa.array(range(problems.num_rows), pa.int64()), "text": problems["prompt"]})
    is_hit = _is_hit(overlaps(texts, read_benchmark(params), params))
    splits = pc.if_else(pc.and_(is_train, is_hit), OVERLAP, problems["split"])
    place = problems.schema.get_field_index("split")
    return problems.set_column(place, "split", splits), pc.sum(pc.and_(is_train, is_hit), min_count=0).as_py()


def benchmark_params(settings: Settings) -> ContaminationParams:
    """The method's defaults with the configured files; it wants a file, and the name stands for none."""
    publishing = settings.publishing
    files = tuple(str(settings.in_workspace(path)) for path in publishing.benchmarks) or (HELD_OUT,)
    return ContaminationParams(benchmark=files, field=publishing.benchmark_field)


def _test(prompts: pa.Table, benchmark: Benchmark, params: ContaminationParams) -> dict[str, object]:
    found = overlaps(prompts.select(["position", "text"]), benchmark, params)
    is_hit = _is_hit(found)
    return {
        "items": [asdict(file) for file in benchmark.files],
        "sets": {
            name: _counts(prompts, found["is_tested"], is_hit, name)
            for name in sorted(set(prompts["set_name"].to_pylist()))
        },
    }


def _is_hit(found: pa.Table) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(found["reason"], OVERLAP), False)


def _counts(prompts: pa.Table, is_tested: pa.ChunkedArray, is_hit: pa.ChunkedArray, name: str) -> Mapping[str, int]:
    """Rows of one set: all, those whose problem was tested, and those whose problem shares words with a test item."""
    of_set = pc.equal(prompts["set_name"], name)

    def rows(where: pa.ChunkedArray) -> int:
        return pc.sum(prompts["num_rows"].filter(where), min_count=0).as_py()

    return {
        "num_rows": rows(of_set),
        "num_tested": rows(pc.and_(of_set, is_tested)),
        "num_contaminated": rows(pc.and_(of_set, is_hit)),
    }
