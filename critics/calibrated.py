"""A critic's calibration beside its weights, and scores that went through it.

`calibration.json` is written into a finished checkpoint's folder: both maps of `critics.calibration`, fitted on the
problems that training's early stop looked at and its gradients never did, against the labels of their trees (never
gold). It names the digest of the weights that it belongs to; beside other weights it counts as absent.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from critics.calibration import CalibrationMap, Isotonic, Temperature, cross_fitted, fit_isotonic, fit_temperature
from critics.checkpoint import CriticManifest
from critics.errors import CheckpointError
from critics.examples import StepExamples
from critics.metrics import calibration_error
from critics.score import StepOpinion, StepScorer

FILE = "calibration.json"
CONFIDENT_WEIGHT = 0.5  # labels with less evidence than this are not fitted to
CalibrationName = Literal["none", "temperature", "isotonic"]


@dataclass(frozen=True)
class Calibration:
    """Both maps of one critic, and what they were fitted on."""

    critic_digest: str  # of the weights
    temperature: float
    isotonic_probabilities: tuple[float, ...]  # knots
    isotonic_values: tuple[float, ...]
    num_steps: int  # labelled steps behind the maps
    num_problems: int
    ece: float  # against the labels of the trees, 15 bins of equal mass, before
    ece_temperature: float | None  # and after a map that was fitted on the other half of the problems
    ece_isotonic: float | None  # None: the problems fall into one half

    def map_named(self, name: CalibrationName) -> CalibrationMap | None:
        """The map of that name; None for none."""
        if name == "temperature":
            return Temperature(self.temperature)
        return Isotonic(self.isotonic_probabilities, self.isotonic_values) if name == "isotonic" else None

    def numbers(self) -> dict[str, float]:
        """The errors as metadata numbers; undefined ones are left out."""
        numbers = {"ece": self.ece, "ece_temperature": self.ece_temperature, "ece_isotonic": self.ece_isotonic}
        return {name: value for name, value in numbers.items() if value is not None}


@dataclass(frozen=True)
class CalibratedScorer:
    """A critic whose scores go through a map; in all else the critic itself."""

    scorer: StepScorer
    map: CalibrationMap
    version: str  # names weights and map

    @property
    def source(self) -> str:
        """Of its rows in step_scores."""
        return self.scorer.source

    @property
    def manifest(self) -> CriticManifest:
        return self.scorer.manifest

    @property
    def training_problems(self) -> frozenset[str]:
        return self.scorer.training_problems

    def knows(self, text: str) -> bool:
        """Whether the critic's tokenizer has a token for every part of a text."""
        return self.scorer.knows(text)

    def score(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[float | None]]:
        """Calibrated scores of the steps of each rollout; None stays None."""
        return [_mapped(self.map, scores) for scores in self.scorer.score(prompts, steps)]

    def opinions(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[StepOpinion | None]]:
        """The same with the critic's disagreement, which is of its own scores and no map changes."""
        made = []
        for of_rollout in self.scorer.opinions(prompts, steps):
            scores = _mapped(self.map, [None if one is None else one.score for one in of_rollout])
            pairs = zip(of_rollout, scores, strict=True)
            made.append([None if one is None else replace(one, score=score) for one, score in pairs])
        return made


def calibrate_critic(
    folder: Path, scorer: StepScorer, examples: StepExamples, validation_fraction: float, seed: int
) -> Calibration | None:
    """Fit both maps on the problems that training held out, and write them beside the weights.

    examples: all that the critic was trained and validated on. None, and no file, where no problem was held out or none
    of their steps has a label of enough evidence.
    """
    _, held_out = examples.split(validation_fraction, seed)
    fitted = fit_calibration(scorer, held_out)
    (folder / FILE).unlink(missing_ok=True)
    if fitted is not None:
        _write(folder / FILE, fitted)
    return fitted


def fit_calibration(scorer: StepScorer, examples: StepExamples) -> Calibration | None:
    """Both maps from the critic's scores of labelled steps; None without any."""
    probabilities, labels, groups = labelled_scores(scorer, examples)
    temperature, isotonic = fit_temperature(probabilities, labels), fit_isotonic(probabilities, labels)
    if temperature is None or isotonic is None:
        return None
    crossed = (cross_fitted(probabilities, labels, groups, fit) for fit in (fit_temperature, fit_isotonic))
    errors = [None if mapped is None else calibration_error(mapped, labels) for mapped in crossed]
    return Calibration(
        scorer.manifest.digest, temperature.temperature, isotonic.probabilities, isotonic.values, len(labels),
        len(set(groups)), calibration_error(probabilities, labels), *errors,
    )  # fmt: skip


def labelled_scores(scorer: StepScorer, examples: StepExamples) -> tuple[list[float], list[float], list[str]]:
    """(scores, labels in [0, 1], problem ids) of the labelled steps of trees; steps beyond the context are left out."""
    paths = [(tree, row) for tree in examples.trees for row in tree.rows]
    texts = [[tree.steps[node] for node in row.path] for tree, row in paths]
    found: tuple[list[float], list[float], list[str]] = ([], [], [])
    for (tree, row), scores in zip(paths, scorer.score([tree.prompt for tree, _ in paths], texts), strict=True):
        for position in row.read:
            label, score = tree.labels[row.path[position]], scores[position]
            if score is not None and label.weight >= CONFIDENT_WEIGHT:
                for values, value in zip(found, (score, label.target, tree.problem_id), strict=True):
                    values.append(value)
    return found


def read_calibration(folder: Path, digest: str) -> Calibration | None:
    """The calibration of a checkpoint with these weights; None where there is none. CheckpointError if damaged."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        fields = json.loads(path.read_text())
        knots = {name: tuple(fields[name]) for name in ("isotonic_probabilities", "isotonic_values")}
        calibration = Calibration(**(fields | knots))
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path} is no calibration ({error}); train the critic again, or remove the file."
        ) from error
    return calibration if calibration.critic_digest == digest else None


def calibrated(scorer: StepScorer, folder: Path, name: CalibrationName) -> StepScorer | CalibratedScorer:
    """The critic behind the map of that name; CheckpointError where it has no calibration."""
    if name == "none":
        return scorer
    calibration = read_calibration(folder, scorer.manifest.digest)
    if calibration is None:
        raise CheckpointError(
            f'{folder} has no {FILE} for its weights, so process_critic.calibration = "{name}" cannot be followed: '
            "train with process_critic.validation_fraction above 0, or set calibration to none."
        )
    chosen = calibration.map_named(name)
    parameters = [calibration.temperature, *calibration.isotonic_probabilities, *calibration.isotonic_values]
    return CalibratedScorer(scorer, chosen, f"{scorer.version}-{name}-{_digest(parameters)}")


def _digest(numbers: Sequence[float]) -> str:
    return hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:8]


def _mapped(calibrate: CalibrationMap, scores: Sequence[float | None]) -> list[float | None]:
    known = iter(calibrate([score for score in scores if score is not None]))
    return [None if score is None else next(known) for score in scores]


def _write(path: Path, calibration: Calibration) -> None:
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        unfinished.write_text(json.dumps(asdict(calibration), indent=1) + "\n")
        os.replace(unfinished, path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise CheckpointError(f"{path} cannot be written: {error.strerror or error}; make room there.") from error
