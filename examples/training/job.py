"""What the training jobs of this folder share: their arguments, the pinned version they pull, the card they leave.

Where to run one: any environment with torch, transformers, trl, datasets and `pip install .` of this repository. On the
CPU the defaults train the starter policy in a minute or two; on GPUs name your model and raise the sizes.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import pyarrow.dataset

import pipelines.starter
from pipelines.datasets.policy_card import write_policy_card
from reasonmill import client

STARTER = Path(pipelines.starter.__file__).parent / "weights"


def arguments(description: str, learning_rate: float, batch_size: int = 16, steps: int = 60) -> argparse.ArgumentParser:
    """The arguments of every job, with its defaults; the job adds its own."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--dataset", default="reasoning", help="NAME, NAME@VERSION or NAME@PIN: pin what you repeat")
    parser.add_argument("--source", help="folder or URL of the datasets; else $REASONMILL_DATASETS or the workspace's")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where versions are pulled to")
    parser.add_argument("--model", default=str(STARTER), help="folder or hub id; by default the starter policy")
    parser.add_argument("--out", type=Path, required=True, help="folder of the trained policy")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--learning-rate", type=float, default=learning_rate, help="the starter's; large models: less")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def pulled(args: argparse.Namespace, *sets: str) -> Path:
    """The version's folder, every file checked; pulling again costs nothing."""
    name, _, version = args.dataset.partition("@")
    return client.pull(name, version or "latest", to=args.data, source=args.source, sets=sets)


def refuse_uninformative(version: Path) -> None:
    """Ends the job where no group of `rl_groups` has right and wrong rollouts: the others teach nothing."""
    if not client.open(version, "rl_groups").count_rows(filter=pyarrow.dataset.field("loss_weight") > 0.0):
        sys.exit(f"No group of {version.name} has both right and wrong rollouts, so there is nothing to learn from.")


def trainer_settings(args: argparse.Namespace) -> dict[str, object]:
    """What the configurations of TRL's trainers have in common."""
    import torch

    is_gpu = torch.cuda.is_available()
    return {
        "output_dir": str(args.out), "max_steps": args.steps, "per_device_train_batch_size": args.batch_size,
        "learning_rate": args.learning_rate, "seed": args.seed, "use_cpu": not is_gpu, "bf16": is_gpu,
        "report_to": "none", "save_strategy": "no", "logging_steps": 1, "disable_tqdm": True,
    }  # fmt: skip


def finish(args: argparse.Namespace, version: Path, sets: tuple[str, ...], method: str, losses: list[float],
           started: float) -> None:  # fmt: skip
    """Writes the policy's card and says what the loss did: the mean of the first and of the last five steps."""
    few = min(5, len(losses))
    numbers = {
        "steps": len(losses),
        "first_loss": round(sum(losses[:few]) / few, 4),
        "last_loss": round(sum(losses[-few:]) / few, 4),
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(time.process_time(), 1),  # of the whole job, imports included
    }
    base_model = "the starter policy" if args.model == str(STARTER) else args.model
    write_policy_card(args.out, version, sets, base_model, method, numbers)
    print(json.dumps(numbers | {"dataset": version.name, "policy": str(args.out)}))


def train(trainer, args: argparse.Namespace, version: Path, sets: tuple[str, ...], method: str) -> None:
    """Trains with one of TRL's trainers, saves the policy with its tokenizer, and finishes."""
    started = time.perf_counter()
    trainer.train()
    trainer.save_model(args.out)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    finish(args, version, sets, method, losses, started)
