"""Tonight's critics: one per fold, and one that learned from every training problem.

Checkpoints lie in `<checkpoints>/process_critic/<night>/<key>/fold-0 ... all`, where the key is a digest of labelled
steps, configuration and initial model: a run that was killed finds its state again, and other data never overwrites
the checkpoints that the table `critics` still names.
"""

import json
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pyarrow as pa

from critics.calibrated import calibrate_critic
from critics.checkpoint import folder_digest
from critics.examples import StepExamples
from critics.score import load_critic
from critics.train import TrainedCritic, train_process_critic
from pipelines.config import CriticConfig
from pipelines.lake import rows_to_table
from pipelines.records import ProgressFn, stable_digest


def checkpoint_folder(checkpoints: Path, night: str, examples: StepExamples, config: CriticConfig, init: Path) -> Path:
    """Where the critics of these examples, this configuration and this initial model belong."""
    learned = config.model_dump(mode="json", exclude={"calibration", "kind"})
    key = stable_digest(examples.digest(), learned, folder_digest(init), length=12)
    return checkpoints / "process_critic" / night / key


def train_critics(
    examples: StepExamples,
    config: CriticConfig,
    init: Path,
    folder: Path,
    *,
    data_version: str,
    on_progress: ProgressFn,
) -> dict[int | None, TrainedCritic]:
    """Fold -> critic that never saw the fold; None -> critic of all training problems."""
    trained = {}
    for fold in [*range(config.num_folds), None]:
        name = "all" if fold is None else f"fold-{fold}"
        trained[fold] = train_process_critic(
            examples,
            config,
            init,
            folder / name,
            on_metrics=_report_to(on_progress, f"process_critic {name}", config.steps),
            fold=fold,
            data_version=data_version,
        )
    return trained


def _report_to(on_progress: ProgressFn, stage: str, num_steps: int) -> Callable[[int, Mapping[str, float]], None]:
    def on_metrics(step: int, metrics: Mapping[str, float]) -> None:
        shown = {name: metrics[name] for name in ("loss", "validation_loss", "seconds_left") if name in metrics}
        on_progress(stage, step, num_steps, shown)

    return on_metrics


def critic_rows(trained: Mapping[int | None, TrainedCritic], root: Path, night: str) -> pa.Table:
    """The table `critics`; a path inside the workspace is stored relative to it."""
    rows = []
    for fold, critic in trained.items():
        is_inside = critic.folder.is_relative_to(root)
        rows.append(
            {
                "critic_id": f"{critic.manifest.kind}-{night}-{critic.folder.name}-{critic.digest[:12]}",
                "kind": critic.manifest.kind,
                "path": str(critic.folder.relative_to(root) if is_inside else critic.folder),
                "digest": critic.digest,
                "night": night,
                "fold": fold,
                "data_version": critic.manifest.data_version,
                "num_nodes": critic.manifest.num_nodes,
                "num_problems": critic.manifest.num_problems,
                "metrics": json.dumps(dict(critic.metrics), sort_keys=True),
            }
        )
    return rows_to_table("critics", rows)


def calibrate_critics(
    trained: Mapping[int | None, TrainedCritic], examples: StepExamples, config: CriticConfig
) -> dict[str, float]:
    """Writes each critic's calibration beside its weights; what it did for the full critic, as metadata numbers."""
    found = {}
    for fold, critic in trained.items():
        seen = examples.without_fold(fold, config.num_folds)
        scorer = load_critic(critic.folder)
        found[fold] = calibrate_critic(critic.folder, scorer, seen, config.validation_fraction, config.seed)
    return {} if found[None] is None else found[None].numbers()


def remove_superseded(folder: Path, kept: Collection[Path]) -> None:
    """Removes the checkpoints of the same night that an earlier materialisation left beside `folder`.

    kept: checkpoints that must stay, because they are the current ones or were so once.
    """
    for other in folder.parent.iterdir():
        if other != folder and other.is_dir() and not any(path.is_relative_to(other) for path in kept):
            shutil.rmtree(other, ignore_errors=True)
