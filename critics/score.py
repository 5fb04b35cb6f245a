"""Scores of steps by a trained critic, and the step_scores table, out of fold where it has to be.

A score is what the critic's head says at a step's last token, in [0, 1]: with the head `bce` the probability that the
step is right. A critic that was trained for risk-aware selection gives a quantile or CVaR of its belief instead of the
mean (`read_off` of its configuration). It does not depend on what else is in the batch (1e-5). None stands for a step
that ends beyond the critic's context: never scored, which is not zero. Only an ensemble has a disagreement.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from transformers import PreTrainedModel

from critics.checkpoint import CriticManifest, read_manifest, read_training_problems
from critics.ensembles import EnsembleHead, disagreement
from critics.errors import CriticDataError, LeakError
from critics.fold import fold_of
from critics.head_registry import READ_OFFS
from critics.heads import Head
from critics.model import (
    STEP_SEPARATOR,
    StepEncoder,
    load_encoder,
    load_network,
    outputs_at,
    pad_rows,
    stored_head,
    stored_head_of,
)
from critics.packing import Packing, allow_packing, chunks_of, hindrances, prefix_tree
from pipelines.config import Settings
from pipelines.inference.pooling import ServedClassifier
from pipelines.step_labels.solution import LabelledSolution
from pipelines.tables import SCHEMAS

TOKENS_PER_BATCH = 16_384
PACKED_TOKENS = 8_192
SERVED_ROWS = 4_096  # whose outputs are held at once


OutputsFn = Callable[[Sequence[Sequence[int]], Sequence[Sequence[int]]], list[Tensor]]
"""(rows of token ids, positions in each) -> per row the critic's float32 outputs (positions, labels) there."""


@dataclass(frozen=True)
class StepOpinion:
    """What a critic says of one step."""

    score: float  # [0, 1]
    disagreement: float | None  # variance of the members' means; None without an ensemble
    member_scores: tuple[float, ...] | None = None  # the members' means in their order, of no read-off; likewise


class StepScorer:
    """A loaded critic. `version` names its weights; `training_problems` are the ids that it has seen."""

    source: ClassVar[str] = "critic"  # of its rows in step_scores

    def __init__(
        self,
        outputs: OutputsFn,
        encoder: StepEncoder,
        manifest: CriticManifest,
        training_problems: frozenset[str],
        head: Head,
    ):
        self._outputs = outputs
        self._encoder = encoder
        self.head = head
        self.manifest = manifest
        self.version = manifest.digest[:16]
        self.training_problems = training_problems

    def knows(self, text: str) -> bool:
        """Whether the critic's tokenizer has a token for every part of a text."""
        return self._encoder.knows(text)

    def score(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[float | None]]:
        """Scores of the steps of each rollout, in order; prompts are the critic's own (`verify_prompt`)."""
        return [[None if one is None else one.score for one in opinions] for opinions in self.opinions(prompts, steps)]

    def opinions(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[StepOpinion | None]]:
        """The same with what an ensemble's members disagree about."""
        keys = [(prompt, tuple(texts)) for prompt, texts in zip(prompts, steps, strict=True)]
        unique = sorted({key for key in keys if key[1]})
        self._encoder.remember(prompt for prompt, _ in unique)
        self._encoder.remember(step + STEP_SEPARATOR for _, texts in unique for step in texts)
        encoded = [self._encoder.encode(prompt, texts) for prompt, texts in unique]
        readable = [(key, *one) for key, one in zip(unique, encoded, strict=True) if one[1]]
        outputs = self._outputs([ids for _, ids, _ in readable], [ends for _, _, ends in readable])
        opinions = self._opinions(torch.cat(outputs)) if outputs else []
        found: dict[tuple[str, tuple[str, ...]], list[StepOpinion]] = {}
        at = 0
        for key, _, ends in readable:
            found[key], at = opinions[at : at + len(ends)], at + len(ends)
        return [_padded(found.get(key, []), len(key[1])) for key in keys]

    def _opinions(self, outputs_NK: Tensor) -> list[StepOpinion]:
        config = self.manifest.config
        read_off = READ_OFFS[config.get("read_off", "mean")]
        scores = read_off(self.head, outputs_NK, config.get("risk_level", 1.0)).clamp(0, 1).tolist()
        if not isinstance(self.head, EnsembleHead) or len(self.head.members) < 2:
            return [StepOpinion(score, None) for score in scores]
        disagreements, means_NM = self.head.disagreement(outputs_NK), self.head.means(outputs_NK).clamp(0, 1).T
        columns = (scores, disagreements.tolist(), map(tuple, means_NM.tolist()))
        return [StepOpinion(*one) for one in zip(*columns, strict=True)]


LoadScorer = Callable[[Path], StepScorer]
"""A checkpoint folder -> its scorer."""


def load_critic(folder: Path | str, device: str | None = None) -> StepScorer:
    """The scorer of a checkpoint folder; device None takes CUDA if there is one. CheckpointError if it is none."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    network = load_network(folder).to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    outputs = padded_outputs(network) if hindrances(network) else packed_outputs(network)
    return StepScorer(outputs, load_encoder(folder), manifest, read_training_problems(folder), stored_head(network))


def load_served_critic(folder: Path | str, settings: Settings, run_id: str, owner_pid: int | None = None) -> StepScorer:
    """The scorer of a checkpoint folder that vLLM's pooling runner serves on an engine of the run.

    The engine is found, or started (tens of seconds). Its context is `policy.max_model_len` at most: steps beyond it
    have no score. Scores equal those of `load_critic` (1e-4).
    """
    folder = Path(folder)
    manifest, encoder = read_manifest(folder), load_encoder(folder)
    served = ServedClassifier(settings, folder, run_id, owner_pid)
    encoder.max_length = min(encoder.max_length, served.max_model_len)

    def outputs(rows: Sequence[Sequence[int]], ends: Sequence[Sequence[int]]) -> list[Tensor]:
        made: list[Tensor] = []
        for start in range(0, len(rows), SERVED_ROWS):
            answers = served.outputs(rows[start : start + SERVED_ROWS])
            some = ends[start : start + SERVED_ROWS]
            made += [torch.from_numpy(answer[of_row]) for answer, of_row in zip(answers, some, strict=True)]
        return made

    return StepScorer(outputs, encoder, manifest, read_training_problems(folder), stored_head_of(folder))


def padded_outputs(critic: PreTrainedModel) -> OutputsFn:
    """A network of this process on right-padded rows of similar lengths."""

    @torch.no_grad()
    def outputs(rows: Sequence[Sequence[int]], ends: Sequence[Sequence[int]]) -> list[Tensor]:
        made: list[Tensor] = [torch.empty(0)] * len(rows)
        for members in _batches_by_length([len(row) for row in rows]):
            places = [(row, end) for row, index in enumerate(members) for end in ends[index]]
            rows_N, ends_N = torch.tensor(places, device=critic.device).T
            outputs_NK = outputs_at(critic, pad_rows([rows[i] for i in members]).to(critic.device), rows_N, ends_N)
            for index, of_row in zip(members, outputs_NK.cpu().split([len(ends[i]) for i in members]), strict=True):
                made[index] = of_row
        return made

    return outputs


def packed_outputs(critic: PreTrainedModel) -> OutputsFn:
    """A network of this process; what neighbouring rows share is computed once (packing.py), so sorted rows are best.

    Raises CheckpointError where the backbone cannot be packed.
    """
    allow_packing(critic)

    @torch.no_grad()
    def outputs(rows: Sequence[Sequence[int]], ends: Sequence[Sequence[int]]) -> list[Tensor]:
        made: list[Tensor] = []
        for members in _batches_in_order([len(row) for row in rows]):
            tree = prefix_tree([rows[i] for i in members])
            packing = Packing(torch.from_numpy(tree.positions)[None], chunks_of(tree)).to(critic.device)
            ids_1U = torch.from_numpy(tree.token_ids)[None].to(critic.device)
            places = [tokens[ends[i]] for i, tokens in zip(members, tree.tokens_of_rows, strict=True)]
            places_N = torch.from_numpy(np.concatenate(places)).to(critic.device)
            outputs_NK = outputs_at(critic, ids_1U, torch.zeros_like(places_N), places_N, packing)
            made += outputs_NK.cpu().split([len(ends[i]) for i in members])
        return made

    return outputs


def pooled_opinions(
    scorers: Sequence[StepScorer],
    prompts: Sequence[str],
    steps: Sequence[Sequence[str]],
    pool: Callable[[Sequence[float]], float] = fmean,
) -> list[list[StepOpinion | None]]:
    """What several critics say together, such as critics of several seeds or heads: `pool` is fmean, min or max.

    Disagreement is the variance of their scores. None where one of them could not score the step.
    """
    by_critic = [scorer.score(prompts, steps) for scorer in scorers]
    return [
        [
            None
            if None in scores
            else StepOpinion(pool(scores), disagreement(scores), scores if len(scores) > 1 else None)
            for scores in zip(*of_rollout, strict=True)
        ]
        for of_rollout in zip(*by_critic, strict=True)
    ]


def score_rollouts(
    rollouts: pa.Table,
    problems: pa.Table,
    scorer: StepScorer,
    verify_prompt: Callable[[Mapping], str],
    night: str,
) -> pa.Table:
    """step_scores of all rollouts by one critic; LeakError if it learned from one of their problems."""
    return _score_table(rollouts, problems, lambda _: scorer, scorer.version, verify_prompt, night)


def score_solutions(
    solutions: Sequence[LabelledSolution], scorer: StepScorer, verify_prompt: Callable[[Mapping], str]
) -> tuple[list[LabelledSolution], list[list[float]], Counter[str]]:
    """(solutions that the critic could score, the scores of their steps, reason -> number of those left out).

    Left out are solutions of problems that the critic learned from, with characters that its tokenizer does not know,
    or longer than its context. CriticDataError for a solution without a problem statement, and where none is left.
    """
    left_out: Counter[str] = Counter()
    readable, prompts = [], []
    for solution in solutions:
        if solution.problem is None:
            raise CriticDataError(
                f"{solution.place.file}, line {solution.place.line}: solution {solution.id!r} has no `problem`; a "
                "critic reads the problem's statement before the steps, so each row needs it."
            )
        prompt = verify_prompt({"prompt": solution.problem})
        if solution.problem_id in scorer.training_problems:
            left_out["problem_seen_in_training"] += 1
        elif not all(scorer.knows(text) for text in (prompt, *solution.steps)):
            left_out["characters_unknown_to_the_tokenizer"] += 1
        else:
            readable.append(solution)
            prompts.append(prompt)
    scores = scorer.score(prompts, [solution.steps for solution in readable])
    kept = [(one, of_steps) for one, of_steps in zip(readable, scores, strict=True) if None not in of_steps]
    left_out["longer_than_the_context"] += len(readable) - len(kept)
    if not kept:
        reasons = ", ".join(f"{num} {reason}" for reason, num in left_out.items() if num)
        raise CriticDataError(
            f"Critic {scorer.version} can score none of the {len(solutions)} solutions ({reasons}); the first is "
            f"{solutions[0].id!r} in {solutions[0].place.file}. Take data of the kind that the critic was made for."
        )
    return [one for one, _ in kept], [of_steps for _, of_steps in kept], +left_out


def out_of_fold_scores(
    rollouts: pa.Table,
    problems: pa.Table,
    critics_by_fold: Mapping[int, StepScorer],
    verify_prompt: Callable[[Mapping], str],
    night: str,
) -> pa.Table:
    """step_scores in which each rollout is scored by the critic that was trained without its problem's fold.

    critics_by_fold: fold -> critic whose training left that fold out; every fold must be there.
    All rows carry one `scorer_version`, which stands for the set of critics.
    Raises LeakError if a critic's manifest says another fold, or it has seen a problem that it would score.
    """
    num_folds = len(critics_by_fold)
    for fold, scorer in critics_by_fold.items():
        manifest = scorer.manifest
        if (manifest.fold, manifest.num_folds) != (fold, num_folds):
            raise LeakError(
                f"critic {scorer.version} is given for fold {fold} of {num_folds}, but was trained without fold "
                f"{manifest.fold} of {manifest.num_folds}: train one critic per fold with the same num_folds"
            )
    version = ensemble_version(critics_by_fold)
    return _score_table(
        rollouts, problems, lambda p: critics_by_fold[fold_of(p, num_folds)], version, verify_prompt, night
    )


def ensemble_version(critics_by_fold: Mapping[int, StepScorer]) -> str:
    """The one scorer_version of a set of fold critics."""
    names = ",".join(f"{fold}:{critics_by_fold[fold].version}" for fold in sorted(critics_by_fold))
    return f"folds-{hashlib.sha256(names.encode()).hexdigest()[:10]}"


def _score_table(
    rollouts: pa.Table,
    problems: pa.Table,
    scorer_of: Callable[[str], StepScorer],
    version: str,
    verify_prompt: Callable[[Mapping], str],
    night: str,
) -> pa.Table:
    prompts = {row["problem_id"]: verify_prompt(row) for row in problems.to_pylist()}
    rows = [row for row in rollouts.select(["rollout_id", "problem_id", "steps"]).to_pylist() if row["steps"]]
    by_scorer: dict[int, tuple[StepScorer, list[int]]] = {}
    for index, row in enumerate(rows):
        scorer = scorer_of(row["problem_id"])
        _check_unseen(row, scorer, prompts)
        by_scorer.setdefault(id(scorer), (scorer, []))[1].append(index)
    opinions: list[list[StepOpinion | None]] = [[]] * len(rows)
    for scorer, members in by_scorer.values():
        made = scorer.opinions([prompts[rows[i]["problem_id"]] for i in members], [rows[i]["steps"] for i in members])
        for index, of_steps in zip(members, made, strict=True):
            opinions[index] = of_steps
    sources = {scorer.source for scorer, _ in by_scorer.values()}
    return _table([row["rollout_id"] for row in rows], opinions, version, night, *sources)


def _check_unseen(row: Mapping, scorer: StepScorer, prompts: Mapping[str, str]) -> None:
    if row["problem_id"] not in prompts:
        raise CriticDataError(
            f"rollout {row['rollout_id']} belongs to problem {row['problem_id']}, which is not among the "
            f"{len(prompts)} rows of problems"
        )
    if row["problem_id"] in scorer.training_problems:
        raise LeakError(
            f"rollout {row['rollout_id']} would be scored by critic {scorer.version}, which learned from its problem "
            f"{row['problem_id']} (fold {scorer.manifest.fold} of {scorer.manifest.num_folds} was left out)"
        )


def _table(
    rollout_ids: Sequence[str],
    opinions: Sequence[Sequence[StepOpinion | None]],
    version: str,
    night: str,
    source: str = StepScorer.source,
) -> pa.Table:
    steps = [(rollout_ids[i], k, opinion) for i, row in enumerate(opinions) for k, opinion in enumerate(row)]
    columns = {
        "rollout_id": [rollout_id for rollout_id, _, _ in steps],
        "step": [step for _, step, _ in steps],
        "source": [source] * len(steps),
        "scorer_version": [version] * len(steps),
        "score": [None if opinion is None else opinion.score for _, _, opinion in steps],
        "num_samples": [None] * len(steps),
        "disagreement": [None if opinion is None else opinion.disagreement for _, _, opinion in steps],
        "member_scores": [None if opinion is None else opinion.member_scores for _, _, opinion in steps],
        "night": [night] * len(steps),
    }
    return pa.table(columns, schema=SCHEMAS["step_scores"])


def _batches_by_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of the non-empty rows in order of length, in groups of at most TOKENS_PER_BATCH padded tokens."""
    group: list[int] = []
    for i in sorted((i for i, length in enumerate(lengths) if length), key=lengths.__getitem__):
        if group and lengths[i] * (len(group) + 1) > TOKENS_PER_BATCH:
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _batches_in_order(lengths: Sequence[int]) -> Iterator[range]:
    """Neighbours in groups of at most PACKED_TOKENS tokens before packing."""
    start, num_tokens = 0, 0
    for i, length in enumerate(lengths):
        if i > start and num_tokens + length > PACKED_TOKENS:
            yield range(start, i)
            start, num_tokens = i, 0
        num_tokens += length
    if start < len(lengths):
        yield range(start, len(lengths))


def _padded(opinions: Sequence[StepOpinion], length: int) -> list[StepOpinion | None]:
    return [*opinions, *[None] * (length - len(opinions))]
