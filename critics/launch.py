"""Training of one critic by several processes: this process starts `accelerate launch` and reports for it.

`python -m critics.launch FOLDER` is what every launched process runs: it reads the job from the folder, trains, and the
first one writes its metrics as lines of standard output. A user may run it under a launcher of their own.
"""

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from critics.errors import CriticError
from critics.examples import StepExamples
from critics.train import OnMetrics, TrainedCritic, train_process_critic
from pipelines.config import CriticConfig
from pipelines.errors import ReasonmillError

JOB, RESULT, ERROR = "job.pickle", "result.pickle", "error.pickle"
MARK = "critic metrics "
LOG_LINES = 60  # of a launcher that failed, in the message


@dataclass(frozen=True)
class TrainingJob:
    """The arguments of `train_process_critic`."""

    examples: StepExamples
    config: CriticConfig
    init_folder: Path
    out_folder: Path
    fold: int | None = None
    data_version: str = ""
    device: str | None = None


def train_in_processes(job: TrainingJob, on_metrics: OnMetrics) -> TrainedCritic:
    """The critic, trained by `config.num_processes` processes; in this one where that is 1.

    Raises what training raises, and CriticError where the launcher itself fails.
    """
    if job.config.num_processes == 1:
        return _train(job, on_metrics)
    with tempfile.TemporaryDirectory(prefix="critic-job-") as folder:
        (Path(folder) / JOB).write_bytes(pickle.dumps(job))
        log = _run(launch_command(job, Path(folder)), on_metrics)
        for name in (ERROR, RESULT):
            if (Path(folder) / name).is_file():
                found = pickle.loads((Path(folder) / name).read_bytes())
                if name == ERROR:
                    raise found
                return found
    raise CriticError(
        f"accelerate launch with {job.config.num_processes} processes ended without a critic. Its last lines:\n{log}"
    )


def launch_command(job: TrainingJob, folder: Path) -> list[str]:
    """What starts the processes, on CPUs too: accelerate's launcher for CPUs alone would start a single one."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
    processes = ["--num_processes", str(job.config.num_processes), "--main_process_port", "0"]
    return [
        *launcher,
        *processes,
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "-m",
        "critics.launch",
        str(folder),
    ]


def _run(command: list[str], on_metrics: OnMetrics) -> str:
    """Runs it to its end; the last lines of what it printed that is no metrics."""
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            for line in process.stdout:
                if line.startswith(MARK):
                    step, metrics = json.loads(line.removeprefix(MARK))
                    on_metrics(step, metrics)
                else:
                    lines = [*lines[1 - LOG_LINES :], line]
        finally:
            process.terminate()
    return "".join(lines)


def _train(job: TrainingJob, on_metrics: OnMetrics) -> TrainedCritic:
    return train_process_critic(
        job.examples, job.config, job.init_folder, job.out_folder, on_metrics=on_metrics, fold=job.fold,
        data_version=job.data_version, device=job.device,
    )  # fmt: skip


def _check_size(config: CriticConfig) -> None:
    found = int(os.environ.get("WORLD_SIZE", "1"))
    if found != config.num_processes:
        raise CriticError(
            f"{found} processes were launched, but process_critic.num_processes is {config.num_processes}; a process "
            "that does not know of the others would train a critic of its own"
        )


def _write_metrics(step: int, metrics: Mapping[str, float]) -> None:
    sys.stdout.write(f"{MARK}{json.dumps([step, dict(metrics)])}\n")
    sys.stdout.flush()


def main(folder: Path, write: Callable[[int, Mapping[str, float]], None] = _write_metrics) -> None:
    """One launched process."""
    job = pickle.loads((folder / JOB).read_bytes())
    try:
        _check_size(job.config)
        trained = _train(job, write)
    except ReasonmillError as error:
        (folder / ERROR).write_bytes(pickle.dumps(error))
        raise
    (folder / RESULT).write_bytes(pickle.dumps(trained))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
