"""Curation methods on real data: contamination, duplicates, behaviours, audits, length control, bias, calibration.

    python -m tests.benchmarks curation --data FOLDER

FOLDER holds gsm8k, math500, processbench, realcritic, mr-gsm8k-critiques, agent-process-bench, llmbar and
pandalm-testset. Every number comes from a method of the catalogue on a table that is made here. Intervals of shares:
Wilson, 95 %; others as each method gives them, or bootstrap over questions. In the contamination table the rows marked
as a control are drawn from the very benchmark that they are tested against, so that a working test finds nearly all.
"""

import argparse
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.audit import audited_sample, behaviour_tags, contamination
from pipelines.audit.audited_sample import EstimateParams, SampleParams
from pipelines.audit.behaviour_tags import TagParams
from pipelines.audit.contamination import ContaminationParams, certified
from pipelines.curation import Curation
from pipelines.duplicates import minhash
from pipelines.duplicates.minhash import MinHashParams, StepParams
from pipelines.errors import SourceError
from pipelines.judges import bias, confidence, length_control
from pipelines.judges.bias import BiasParams
from pipelines.judges.confidence import ConfidenceParams
from pipelines.judges.length_control import LengthParams
from pipelines.trees.fields import json_lines
from tests.benchmarks import record

TESTED = (  # file, field, benchmark, its field, is it a control
    ("gsm8k/train.jsonl.gz", "question", "gsm8k/test.jsonl.gz", "question", False),
    ("processbench/gsm8k.jsonl.gz", "problem", "gsm8k/test.jsonl.gz", "question", True),
    ("realcritic/gsm8k.jsonl.gz", "question", "gsm8k/test.jsonl.gz", "question", True),
    ("mr-gsm8k-critiques/solutions.jsonl.gz", "question", "gsm8k/test.jsonl.gz", "question", True),
    ("realcritic/math.jsonl.gz", "question", "math500/math500.jsonl.gz", "problem", False),
    ("processbench/math.jsonl.gz", "problem", "math500/math500.jsonl.gz", "problem", False),
)
STEPS = tuple(f"processbench/{name}.jsonl.gz" for name in ("gsm8k", "math", "olympiadbench", "omnimath"))
SUBSETS = ("bfcl", "hotpotqa", "tau2")
AUDITED_JUDGES = ("Qwen3-8B", "GPT-5.2")
NUM_AUDITED, NUM_DRAWS = 40, 100
LLMBAR = ("llmbar/instances.jsonl.gz", "llmbar/judgments.jsonl.gz")
PANDALM = "pandalm-testset/testset.jsonl.gz"

Row = Mapping[str, object]
Section = dict[str, list[dict]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder that holds the data sets")


def run(arguments: argparse.Namespace) -> None:
    """The tables; SystemExit says which files are missing."""
    try:
        check_files(arguments.data)
        content = record.provenance() | measured(arguments.data)
    except SourceError as error:
        raise SystemExit(str(error)) from error
    record.save("curation", arguments.out, content, record.heading(content) + as_markdown(content))


def check_files(folder: Path | None) -> None:
    """Raises SourceError unless all files are there."""
    agents = [f"agent-process-bench/{s}_{kind}.jsonl.gz" for s in SUBSETS for kind in ("human_labels", "judgements")]
    wanted = {name for row in TESTED for name in (row[0], row[2])} | {*STEPS, *agents, *LLMBAR, PANDALM}
    missing = sorted(name for name in wanted if folder is None or not (folder / name).is_file())
    if missing:
        where = "No folder is given" if folder is None else f"{folder} lacks files"
        what = f"--data must name a folder that holds the data sets; missing are {', '.join(missing)}"
        raise SourceError(f"{where}: {what}.")


def measured(folder: Path) -> Section:
    """All sections."""
    return {
        "contamination": [contaminated(folder, *one) for one in TESTED],
        "duplicates": duplicated(folder),
        "behaviours": tagged(folder),
        "audits": [audited(folder, subset, judge) for judge in AUDITED_JUDGES for subset in SUBSETS],
        "length": length_controlled(folder),
        "bias": position_bias(folder),
        "confidence": calibrated(folder),
    }


def as_table(method: Curation, rows: Iterable[Row]) -> pa.Table:
    """Rows as a method reads them."""
    schema = pa.schema([("position", pa.int64()), *((one.name, one.kind) for one in method.reads)])
    return pa.Table.from_pylist([{"position": i, **row} for i, row in enumerate(rows)], schema=schema)


def rows_of(path: Path) -> list[Row]:
    return [row for row, _ in json_lines(path)]


def wilson(hits: int, total: int) -> dict[str, float | int | None]:
    """Share with its interval; None of nothing."""
    if total == 0:
        return {"hits": 0, "total": 0, "share": None, "low": None, "high": None}
    z2, share = 1.959963984540054**2, hits / total
    centre, half = share + z2 / (2 * total), math.sqrt(z2 * (share * (1 - share) + z2 / (4 * total)) / total)
    low, high = ((centre + sign * half) / (1 + z2 / total) for sign in (-1, 1))
    return {"hits": hits, "total": total, "share": share, "low": low, "high": high}


# what is in the texts -----------------------------------------------------------------------------


def contaminated(folder: Path, name: str, field: str, test: str, test_field: str, is_control: bool) -> dict:
    """Rows of a file that share 13 words with a benchmark."""
    rows = as_table(contamination.CURATION, ({"text": row[field]} for row in rows_of(folder / name)))
    params = ContaminationParams(benchmark=(str(folder / test),), field=test_field)
    _, certificate = certified(rows, params)
    share = wilson(certificate.num_contaminated, certificate.num_tested)
    return {"file": name, "benchmark": test, "is_control": is_control, **share, "certificate": asdict(certificate)}


def duplicated(folder: Path) -> list[dict]:
    """Duplicates among the steps of ProcessBench's solutions, and among GSM8K's training questions."""
    rollouts = [
        {"rollout_id": row["id"], "steps": row["steps"]} for name in STEPS for row in rows_of(folder / name)
    ]  # fmt: skip
    questions = [
        {"text_id": f"{i:05d}", "text": row["question"]} for i, row in enumerate(rows_of(folder / TESTED[0][0]))
    ]  # fmt: skip
    start = time.perf_counter()
    steps = minhash.run_steps(as_table(minhash.STEP_CURATION, rollouts), StepParams())
    middle = time.perf_counter()
    texts = minhash.run(as_table(minhash.CURATION, questions), MinHashParams())
    end = time.perf_counter()
    return [
        _duplicates_in("ProcessBench, steps", steps, middle - start),
        _duplicates_in("GSM8K, training questions", texts, end - middle),
    ]


def _duplicates_in(what: str, made: pa.Table, seconds: float) -> dict:
    reasons = made["reason"].to_pylist()
    counts = {reason: reasons.count(reason) for reason in ("exact_duplicate", "near_duplicate")}
    return {"what": what, "seconds": seconds, **counts, **wilson(sum(counts.values()), len(reasons))}


def tagged(folder: Path) -> list[dict]:
    """Share of ProcessBench's right and wrong solutions in which a behaviour occurs."""
    rows = [row for name in STEPS for row in rows_of(folder / name)]
    made = behaviour_tags.run(
        as_table(behaviour_tags.CURATION, ({"text": "\n".join(row["steps"])} for row in rows)), TagParams()
    )
    found = made["behaviours"].to_pylist()
    return [
        {"behaviour": name, "solutions": kind, **wilson(sum(name in found[i] for i in members), len(members))}
        for name in behaviour_tags.RULES
        for kind, is_right in (("right", True), ("wrong", False))
        for members in [[i for i, row in enumerate(rows) if (row["label"] == -1) == is_right]]
    ]


# audits -------------------------------------------------------------------------------------------


def audited(folder: Path, subset: str, judge: str) -> dict:
    """The share of right rollouts by a judge alone, and corrected by 40 audited ones, drawn 100 times."""
    gold = {
        row["record_id"]: float(row["final_label"] == 1)
        for row in rows_of(folder / f"agent-process-bench/{subset}_human_labels.jsonl.gz")
    }
    said = {
        row["record_id"]: {1: 1.0, 0: 0.5, -1: 0.0}.get(row["final_label"])
        for row in rows_of(folder / f"agent-process-bench/{subset}_judgements.jsonl.gz")
        if row["judge"] == judge
    }
    ids = sorted(gold)
    rows = as_table(audited_sample.SAMPLE_CURATION, ({"row_id": key, "judge_label": said.get(key)} for key in ids))
    truth = np.array([gold[key] for key in ids])
    estimates = [_estimate(rows, truth, seed) for seed in range(NUM_DRAWS)]
    inside = sum(one["low"] <= truth.mean() <= one["high"] for one in estimates)
    return {
        "judge": judge, "subset": subset, "num_rollouts": len(ids), "truth": float(truth.mean()),
        "judge_alone": estimates[0]["naive"], "corrected": estimates[0]["doubly_robust"], "low": estimates[0]["low"],
        "high": estimates[0]["high"], "mean_audited": float(np.mean([one["num_audited"] for one in estimates])),
        "mean_corrected": float(np.mean([one["doubly_robust"] for one in estimates])),
        "mean_width": float(np.mean([one["high"] - one["low"] for one in estimates])), "coverage": inside / NUM_DRAWS,
    }  # fmt: skip


def _estimate(rows: pa.Table, truth: np.ndarray, seed: int) -> dict:
    drawn = audited_sample.draw(rows, SampleParams(num_samples=NUM_AUDITED, num_bins=2, seed=seed))
    is_sampled = drawn["is_sampled"].to_numpy(zero_copy_only=False)
    labels = pa.array(np.where(is_sampled, truth, np.nan), from_pandas=True)
    audit = drawn.append_column("judge_label", rows["judge_label"]).append_column("gold_label", labels)
    return audited_sample.estimate(audit, EstimateParams()).to_pylist()[0]


# judges -------------------------------------------------------------------------------------------


def _llmbar_vanilla(folder: Path) -> list[dict]:
    """Vanilla verdicts of every evaluator with lengths and gold; winners are outputs, 1 or 2."""
    instances = {(row["subset"], row["index"]): row for row in rows_of(folder / LLMBAR[0])}
    rows = []
    for row in rows_of(folder / LLMBAR[1]):
        if row["strategy"] == "Vanilla":
            one, orders = instances[row["subset"], row["index"]], row["results"][-1]
            winners = [orders[key]["winner"] for key in ("swap = False", "swap = True")]
            rows.append({
                "judge": row["evaluator"], "item": f"{row['subset']}:{row['index']}", "gold": str(row["label"]),
                "winners": [winner if winner in ("1", "2") else None for winner in winners],
                "lengths": {"1": len(one["output_1"]), "2": len(one["output_2"])},
            })  # fmt: skip
    return rows


def length_controlled(folder: Path) -> list[dict]:
    """How often a judge prefers the better output, raw and at equal lengths."""
    other = {"1": "2", "2": "1"}
    rows = [
        {"model": row["judge"],
         "preference": None if None in row["winners"] else sum(w == row["gold"] for w in row["winners"]) / 2,
         "num_chars_first": row["lengths"][row["gold"]], "num_chars_second": row["lengths"][other[row["gold"]]]}
        for row in _llmbar_vanilla(folder)
    ]  # fmt: skip
    return length_control.run(as_table(length_control.CURATION, rows), LengthParams()).to_pylist()


def position_bias(folder: Path) -> list[dict]:
    """The position probe: the same pair with its outputs in the other order."""
    rows = [
        {"judge": row["judge"], "bias": "position", "item_id": row["item"], "is_perturbed": side == 1,
         "verdict": row["winners"][side], "gold": row["gold"], "pushed_to": "2"}
        for row in _llmbar_vanilla(folder)
        for side in (0, 1)
    ]  # fmt: skip
    return bias.run(as_table(bias.CURATION, rows), BiasParams()).to_pylist()


def calibrated(folder: Path) -> list[dict]:
    """Two judges' bare verdicts (1, 1/2, 0) against three people's votes, before and after calibration."""
    votes = {0: 0.5, 1: 1.0, 2: 0.0}
    said = {"0": 0.5, "Tie": 0.5, "1": 1.0, "2": 0.0}
    given = rows_of(folder / PANDALM)
    found = []
    for judge, field in {"GPT-3.5-turbo": "gpt_result", "PandaLM-7B": "pandalm_result"}.items():
        rows = [
            {"probability": said.get(str(row[field])), "num_votes": 3.0, "group_id": row["instruction"] + row["input"],
             "votes_first": sum(votes[row[f"annotator{i}"]] for i in (1, 2, 3))}
            for row in given
        ]  # fmt: skip
        made = confidence.run(as_table(confidence.CURATION, rows), ConfidenceParams()).to_pylist()
        kept = [(row["group_id"], one) for row, one in zip(rows, made, strict=True) if one["reason"] is None]
        before = {"before": [one["squared_error"] for _, one in kept]}
        after = {"after": [(one["calibrated"] - one["vote_share"]) ** 2 for _, one in kept]}
        spreads = {name: _mean_over(groups, [key for key, _ in kept]) for name, groups in (before | after).items()}
        found.append({"judge": judge, "num_rows": len(kept), "num_left_out": len(rows) - len(kept), **spreads})
    return found


def _mean_over(values: Sequence[float], groups: Sequence[str]) -> dict[str, float]:
    """Mean with its bootstrap interval over groups."""
    names = sorted(set(groups))
    sums_G2 = np.zeros((len(names), 2))
    for value, group in zip(values, groups, strict=True):
        sums_G2[names.index(group)] += value, 1
    draws_RG = np.random.default_rng(0).integers(0, len(names), (1000, len(names)))
    means_R = sums_G2[draws_RG].sum(axis=1)
    low, high = np.percentile(means_R[:, 0] / means_R[:, 1], [2.5, 97.5])
    return {"mean": float(np.mean(values)), "low": float(low), "high": float(high)}


# tables -------------------------------------------------------------------------------------------


def as_markdown(content: Section) -> list[str]:
    """One table per section."""
    shown = lambda one: f"{one['share']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
    lines = ["Contamination: 13 words in a row, whole short texts from 6 words on.", ""]
    lines += record.table(
        ["rows", "against", "contaminated, of those tested", "share", "control"],
        [[one["file"], one["benchmark"], f"{one['hits']} of {one['total']}", shown(one),
          "yes" if one["is_control"] else ""] for one in content["contamination"]],
    )  # fmt: skip
    lines += ["", "Duplicates: rows removed; the first by id stays.", ""]
    lines += record.table(
        ["rows", "removed", "exact", "near", "share", "seconds"],
        [[one["what"], f"{one['hits']} of {one['total']}", one["exact_duplicate"], one["near_duplicate"], shown(one),
          f"{one['seconds']:.1f}"] for one in content["duplicates"]],
    )  # fmt: skip
    lines += ["", "Behaviours in ProcessBench's solutions, by lexical rules: share of solutions with at least one.", ""]
    lines += record.table(
        ["behaviour", "solutions", "share"],
        [[one["behaviour"], f"{one['total']} {one['solutions']}", shown(one)] for one in content["behaviours"]],
    )
    lines += ["", f"Share of right rollouts by a judge alone and corrected by about {NUM_AUDITED} audited ones.", ""]
    lines += [f"Shown is the first of {NUM_DRAWS} draws; coverage: how many of their intervals hold the truth.", ""]
    lines += record.table(
        ["judge", "subset", "truth", "judge alone", "corrected", "mean of all draws", "mean width", "coverage"],
        [[one["judge"], f"{one['subset']}, {one['num_rollouts']}", f"{one['truth']:.3f}", f"{one['judge_alone']:.3f}",
          f"{one['corrected']:.3f} ({one['low']:.3f} to {one['high']:.3f})", f"{one['mean_corrected']:.3f}",
          f"{one['mean_width']:.3f}", f"{one['coverage']:.2f}"] for one in content["audits"]],
    )  # fmt: skip
    lines += ["", "LLMBar, Vanilla: how often the better output is preferred (mean of both orders).", ""]
    lines += record.table(
        ["judge", "rows", "raw", "at equal lengths", "phi"],
        [[one["model"], one["num_rows"], f"{one['win_rate']:.3f}",
          f"{one['lc_win_rate']:.3f} ({one['low']:.3f} to {one['high']:.3f})", f"{one['phi']:.2f}"]
         for one in content["length"]],
    )  # fmt: skip
    lines += ["", "LLMBar, Vanilla: the position probe; pushed: to the output shown first after the swap.", ""]
    lines += record.table(
        ["judge", "pairs", "consistency", "accuracy plain", "swapped", "pushed"],
        [[one["judge"], one["num_items"], f"{one['consistency']:.3f} ({one['low']:.3f} to {one['high']:.3f})",
          f"{one['accuracy_plain']:.3f}", f"{one['accuracy_perturbed']:.3f}", f"{one['pushed']:.3f}"]
         for one in content["bias"]],
    )  # fmt: skip
    lines += ["", "PandaLM: squared distance of a judge's bare verdict from the share of three people's votes.", ""]
    spread = lambda one: f"{one['mean']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
    lines += record.table(
        ["judge", "pairs", "as said", "calibrated on other questions"],
        [[one["judge"], one["num_rows"], spread(one["before"]), spread(one["after"])] for one in content["confidence"]],
    )  # fmt: skip
    return lines
