"""The light client in a fresh environment: today's trl and transformers, this repository, and none of our pins.

    python -m tests.benchmarks fresh_client --version workspace/datasets/reasoning/reasoning-...

Makes a virtual environment, installs torch, trl (with what it asks for) and this repository as `pip install .` does,
and runs `fresh_client_job.py` in it: every set is pulled and loaded, and TRL's trainers take a step on those they read.
Minutes, and about 2 GB for a moment; --torch "" takes whatever torch pip finds.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipelines.datasets.versions import read_version
from tests.benchmarks.record import heading, provenance, save, table

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PARTS = ("pyproject.toml", "README.md", "pipelines", "critics", "assets", "sql", "reasonmill")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The version to pull, and the torch that is installed first."""
    parser.add_argument("--version", type=Path, required=True, help="folder of a published version of the starter")
    parser.add_argument("--torch", default="torch==2.13.0", help="installed first: the CPU build where there is one")


def run(arguments: argparse.Namespace) -> None:
    """Install, run the job, save and show."""
    version = read_version(arguments.version)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        python = _environment(folder, arguments.torch)
        install_s = time.perf_counter() - started
        size = sum(path.stat().st_size for path in (folder / "environment").rglob("*") if path.is_file())
        started = time.perf_counter()
        found = _job(python, folder, version.path.parents[1], f"{version.manifest['name']}@{version.version}")
        job_s = time.perf_counter() - started
    seconds = {"install_s": round(install_s), "job_s": round(job_s), "environment_gb": round(size / 1e9, 2)}
    result = provenance() | seconds | found
    save("fresh_client", arguments.out, result, _markdown(result))


def _environment(folder: Path, torch: str) -> Path:
    source = folder / "source"  # a copy, so that the build leaves nothing in the repository
    for part in PARTS:
        path = ROOT / part
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        if path.is_dir():
            shutil.copytree(path, source / part, ignore=ignored)
        else:
            source.mkdir(exist_ok=True)
            shutil.copy(path, source / part)
    subprocess.run([sys.executable, "-m", "venv", folder / "environment"], check=True)
    python = folder / "environment" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet"]
    if torch:
        subprocess.run([*install, torch], check=True)
    subprocess.run([*install, "trl", "transformers"], check=True)
    subprocess.run([*install, source], check=True)
    return python


def _job(python: Path, folder: Path, source: Path, dataset: str) -> dict:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "REASONMILL_CONFIG")}
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
    command = [python, HERE / "fresh_client_job.py", source, dataset, folder / "data"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment | offline)
    if done.returncode:
        sys.exit(f"The light client failed in the fresh environment:\n{done.stderr[-3000:]}")
    return json.loads(next(line for line in reversed(done.stdout.splitlines()) if line.startswith('{"versions"')))


def _markdown(result: dict) -> list[str]:
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    losses = [[name, f"{loss:.4f}"] for name, loss in result["losses"].items()]
    size = f"{result['num_packages']} packages, {result['environment_gb']} GB"
    took = f"{result['install_s']} s to install, the job {result['job_s']} s"
    return [
        *heading(result),
        f"A fresh environment with {versions} ({size}) took {took}. Not installed: {', '.join(result['absent'])}.",
        "",
        "Rows loaded: " + ", ".join(f"{name} {number:,}" for name, number in result["rows"].items()) + ".",
        "",
        *table(["set", "loss of one step"], losses),
    ]
