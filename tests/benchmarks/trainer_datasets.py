"""The dataset classes of verl and OpenRLHF read what is exported for them, in an environment of their own.

Every row of a published version is written in the formats for verl and OpenRLHF, read by the trainers' own classes
with the starter's tokenizer, and compared with the canonical row: the prompt as the policy is asked, the tokens that
the loss is on, margin and answer. Without --python an environment is made first (minutes, 1.9 GB):

    python -m tests.benchmarks trainer_datasets --version workspace/datasets/reasoning/reasoning-...
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from transformers import AutoTokenizer

from pipelines.datasets.formats import FORMATS, PLAIN_TEMPLATE
from pipelines.datasets.formats.export import export, set_rows
from pipelines.datasets.versions import read_version
from tests.benchmarks.record import heading, provenance, save, say, table

HERE = Path(__file__).parent
STARTER = HERE.parents[1] / "pipelines" / "starter" / "weights"
END = "<eos>"

Row = dict[str, object]


def _shown(text: str) -> str:
    """OpenRLHF's way to end a text: line ends stripped, a space, the end token."""
    return text.rstrip("\n") + " " + END


EXPECTED: dict[str, Callable[[Row], Row]] = {
    "verl_rl": lambda row: {
        "prompt": row["prompt"], "data_source": f"reasonmill/{row['family']}", "ground_truth": row["reference_answer"],
    },
    "messages": lambda row: {
        "text": row["prompt"] + row["completion"] + END, "learned": row["completion"] + END,
    },
    "openrlhf_sft": lambda row: {
        "text": _shown(row["prompt"] + row["completion"]), "learned": _shown(row["completion"]),
    },
    "openrlhf_preference": lambda row: {
        "chosen": _shown(row["prompt"] + row["chosen"]), "rejected": _shown(row["prompt"] + row["rejected"]),
        "margin": row["margin"],
    },
    "openrlhf_prompts": lambda row: {
        "datasource": row["family"], "prompt": row["prompt"], "label": row["reference_answer"],
    },
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The version, and an environment that is there already."""
    parser.add_argument("--version", type=Path, required=True, help="folder of a published version of the starter")
    parser.add_argument("--python", type=Path, help="of an environment with verl and openrlhf")


def run(arguments: argparse.Namespace) -> None:
    """Export, let the other environment read, compare, save and show."""
    version = read_version(arguments.version)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python, install_s = arguments.python, None
        if python is None:
            started = time.perf_counter()
            python = _environment(folder / "environment")
            install_s = round(time.perf_counter() - started)
            say(f"the environment took {install_s} s")
        for form in EXPECTED:
            export(version, FORMATS[form], folder / f"{form}.parquet", overwrite=True)
        tokenizer = AutoTokenizer.from_pretrained(STARTER)
        tokenizer.chat_template = PLAIN_TEMPLATE
        tokenizer.save_pretrained(folder / "tokenizer")
        found = _read(python, folder)
    rows = {form: _compared(version, form, found[form]) for form in EXPECTED}
    result = provenance() | {"versions": found["versions"], "install_s": install_s, "formats": rows}
    save("trainer_datasets", arguments.out, result, _markdown(result))
    if any(one["num_equal"] < one["num_rows"] for one in rows.values()):
        sys.exit("Some rows are not what they were; see the table.")


def _environment(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "torch==2.13.0"], check=True)  # first: the CPU build where an index offers it
    subprocess.run([*install, "-r", HERE / "trainer_datasets_requirements.txt"], check=True)
    subprocess.run([*install, "--no-deps", "openrlhf==0.11.2"], check=True)
    return python


def _read(python: Path, folder: Path) -> dict:
    command = [python, HERE / "trainer_datasets_reader.py", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"The trainers' classes cannot read the files:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _compared(version, form: str, found: list[Row]) -> dict[str, object]:
    """How many rows are, column by column, what the canonical row makes them."""
    canonical = [row for piece in set_rows(version, FORMATS[form].reads[0]) for row in piece.to_pylist()]
    expected = list(map(EXPECTED[form], canonical))
    equal = [all(row.get(key) == value for key, value in wanted.items())
             for row, wanted in zip(found, expected, strict=False)]  # fmt: skip
    first = equal.index(False) if False in equal else None
    return {
        "validated_by": FORMATS[form].validated_by,
        "num_rows": len(expected),
        "num_read": len(found),
        "num_equal": sum(equal),
        "first_other": None if first is None else [expected[first], found[first]],
    }


def _markdown(result: dict) -> list[str]:
    rows = [[form, one["validated_by"], one["num_rows"], one["num_read"], one["num_equal"]]
            for form, one in result["formats"].items()]  # fmt: skip
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    return [
        *heading(result),
        f"Read in an environment with {versions}.",
        "",
        *table(["format", "read by", "rows exported", "rows read", "rows equal"], rows),
    ]
