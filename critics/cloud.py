"""A critic that first writes a critique and then scores problem, solution and critique (CLoud, zankner/CLoud).

    r = w2 dropout(tanh(W1 h)),    h the last hidden state behind [problem, solution, critique, end of text]
    loss = reward loss + lm_weight * CE(critique tokens)    problem and solution have no language loss
    reward loss, pairs:    -log sigmoid(r_right - r_wrong), rollouts of one problem; each problem counts 1 (ours)
                 outcome:  cross-entropy of sigmoid(r) with the grade (ours, no pair needed)

One network has both outputs. Its folder is a causal language model that plain transformers loads and an engine serves;
the reward head lies beside it, in `reward_head/`. How it learns stands in `critics.cloud_train`.

The score of step k is sigmoid(mean reward) over critiques of the solution up to step k: a greedy one, or
`num_critiques` sampled ones (self-consistency). The paper scores whole solutions; that is the score of the last step.
Degenerate case: without a critique (`num_critiques` 0) it is a reward model on [problem, solution, end of text].

Shapes: B rows of T tokens, N rewards, P pairs, L critique tokens, V words, H hidden size.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from critics.checkpoint import CriticManifest, read_manifest, read_training_problems
from critics.errors import CheckpointError
from critics.losses import sibling_contrast, weighted_bce
from critics.model import StepEncoder, load_encoder, pad_rows
from critics.score import StepOpinion
from pipelines.config import AgentConfig, CloudCriticConfig
from pipelines.inference.tokens import Tokenizer
from pipelines.reasoning.prompts import PromptStyle
from pipelines.records import stable_seed
from pipelines.warehouse import Warehouse

HEAD_FOLDER = "reward_head"
HEAD_FILE = f"{HEAD_FOLDER}/head.safetensors"
IGNORED = -100
ROWS = 256  # evaluated, or written, at once
INITIAL_STD = 0.02


@dataclass(frozen=True)
class CloudExample:
    """A graded solution and what was said of it."""

    rollout_id: str
    problem_id: str
    question: str  # asks for a critique of problem and solution
    critique: str | None  # of somebody else, agreeing with the grade; None: nobody's does
    outcome: float  # 0.0 or 1.0


class RewardHead(nn.Module):
    """Linear, tanh, dropout, Linear."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden_size, 1)

    def forward(self, hidden_NH: Tensor) -> Tensor:
        return self.out(self.dropout(torch.tanh(self.dense(hidden_NH))))[:, 0]


@dataclass
class CloudNetwork:
    """Language model and reward head, with the tokens that they share."""

    model: PreTrainedModel
    head: RewardHead
    tokenizer: Tokenizer
    encoder: StepEncoder
    end_id: int  # ends a critique

    def encode(self, text: str, prompts: PromptStyle) -> tuple[int, ...]:
        """Token ids of a question."""
        return prompts.encode(text, self.tokenizer)

    def knows(self, text: str) -> bool:
        """Whether the tokenizer has a token for every part of a text."""
        return self.encoder.knows(text)


def cloud_examples(
    problems: pa.Table,
    rollouts: pa.Table,
    critiques: pa.Table,
    prompts: PromptStyle,
    agent: AgentConfig,
    split: str = "train",
) -> tuple[CloudExample, ...]:
    """Graded rollouts of one split as examples; `agent` is whose critique is asked for."""
    tables = {"problems": problems, "rollouts": rollouts, "critiques": critiques}
    with Warehouse.over(tables) as warehouse:
        rows = warehouse.named("critics/critiqued_rollouts", split=split).to_pylist()
    return tuple(
        CloudExample(
            row["rollout_id"], row["problem_id"], prompts.critique_prompt(agent, row, row["steps"]), row["critique"],
            row["outcome_reward"],
        )
        for row in rows
    )  # fmt: skip


def pairs_of(problem_ids: Sequence[str], outcomes: Sequence[float]) -> list[tuple[int, int, float]]:
    """(right, wrong, weight) for every right and wrong row of one problem; the weights of a problem sum to 1."""
    rows: dict[str, tuple[list[int], list[int]]] = {}
    for index, (problem_id, outcome) in enumerate(zip(problem_ids, outcomes, strict=True)):
        rows.setdefault(problem_id, ([], []))[outcome < 0.5].append(index)
    return [(r, w, 1 / (len(right) * len(wrong))) for right, wrong in rows.values() for r in right for w in wrong]


def reward_loss(kind: str, rewards_N: Tensor, outcomes_N: Tensor, pairs: Sequence[tuple[int, int, float]]) -> Tensor:
    """`pairs` or `outcome`; 0 of pairs where no problem has both outcomes."""
    if kind == "outcome":
        return weighted_bce(rewards_N, outcomes_N, torch.ones_like(outcomes_N))
    better, worse, weights = zip(*pairs, strict=True) if pairs else ((), (), ())
    device = rewards_N.device
    indices = [torch.tensor(index, dtype=torch.long, device=device) for index in (better, worse)]
    return sibling_contrast(rewards_N, *indices, torch.tensor(weights, dtype=torch.float32, device=device))


def language_loss(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Mean cross-entropy of the tokens whose target is not -100, each predicted at the place before it; 0 of none."""
    logits_LV, targets_L = logits_BTV[:, :-1].flatten(0, 1), targets_BT[:, 1:].flatten()
    counted = targets_L != IGNORED
    total = F.cross_entropy(logits_LV.float(), targets_L, ignore_index=IGNORED, reduction="sum")
    return total / counted.sum().clamp_min(1)


def joint_loss(reward: Tensor, language: Tensor, lm_weight: float) -> Tensor:
    """reward + lm_weight * language; 1.25 (8B) and 0.75 (70B) in the paper's code."""
    return reward + lm_weight * language


def evaluated(network: CloudNetwork, questions: Sequence[Sequence[int]], critiques: Sequence[Sequence[int]]) -> tuple:
    """(rewards_N, logits_BTV, targets_BT) of [question, critique, end]; targets are -100 but on critique and end."""
    rows = [[*question, *critique, network.end_id] for question, critique in zip(questions, critiques, strict=True)]
    device = network.model.device
    ids_BT = pad_rows(rows).to(device)
    targets_BT = torch.full_like(ids_BT, IGNORED)
    for row, (ids, question) in enumerate(zip(rows, questions, strict=True)):
        targets_BT[row, len(question) : len(ids)] = ids_BT[row, len(question) : len(ids)]
    found = network.model(input_ids=ids_BT, use_cache=False, output_hidden_states=True)
    ends_N = torch.tensor([len(ids) - 1 for ids in rows], device=device)
    hidden_NH = found.hidden_states[-1][torch.arange(len(rows), device=device), ends_N]
    return network.head(hidden_NH.float()), found.logits, targets_BT


@torch.no_grad()
def write_critiques(
    network: CloudNetwork, questions: Sequence[Sequence[int]], config: CloudCriticConfig, sample: int | None = None
) -> list[list[int]]:
    """Token ids of a critique per question, without its end: greedy, or the sample of that number.

    A critique that has not ended after `config.max_tokens` is cut there. What is sampled depends on the questions and
    their order. Where `config.num_critiques` is 0 every critique is empty.
    """
    if config.num_critiques == 0:
        return [[] for _ in questions]
    network.model.eval()
    order = sorted(range(len(questions)), key=lambda i: len(questions[i]))
    written: list[list[int]] = [[]] * len(questions)
    for start in range(0, len(order), ROWS):
        members = order[start : start + ROWS]
        longest = max(len(questions[i]) for i in members)
        padding = [longest - len(questions[i]) for i in members]  # on the left: all critiques begin at one place
        padded = [[network.end_id] * gap + [*questions[i]] for gap, i in zip(padding, members, strict=True)]
        ids_BT = torch.tensor(padded)
        seen_BT = torch.arange(longest)[None] >= torch.tensor(padding)[:, None]
        sampling = (
            {"do_sample": False}
            if sample is None
            else {"do_sample": True, "temperature": config.temperature, "top_k": 0, "top_p": 1.0}
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_seed(config.seed, "cloud", sample, start) % 2**63)
            made_BT = network.model.generate(
                input_ids=ids_BT.to(network.model.device), attention_mask=seen_BT.long().to(network.model.device),
                max_new_tokens=config.max_tokens, eos_token_id=network.end_id, pad_token_id=network.end_id, **sampling,
            )  # fmt: skip
        for index, ids in zip(members, made_BT[:, longest:].tolist(), strict=True):
            written[index] = ids[: ids.index(network.end_id)] if network.end_id in ids else ids
    return written


@torch.no_grad()
def rewards_of(network: CloudNetwork, questions: Sequence[Sequence[int]], critiques: Sequence[Sequence[int]]) -> Tensor:
    """Rewards (N,) on the CPU."""
    network.model.eval()
    network.head.eval()
    parts = [
        evaluated(network, questions[start : start + ROWS], critiques[start : start + ROWS])[0].cpu()
        for start in range(0, len(questions), ROWS)
    ]
    return torch.cat(parts) if parts else torch.empty(0)


class CloudScorer:
    """A trained critic of this kind, used as any critic is (`critics.score.StepScorer`)."""

    source: ClassVar[str] = "critic"  # of its rows in step_scores

    def __init__(
        self, network: CloudNetwork, manifest: CriticManifest, training_problems: frozenset[str],
        config: CloudCriticConfig, prompts: PromptStyle, agent: AgentConfig,
    ) -> None:  # fmt: skip
        """agent: whose critique it was trained to write."""
        self._network, self._config, self._prompts, self._agent = network, config, prompts, agent
        self.manifest = manifest
        self.version = manifest.digest[:16]
        self.training_problems = training_problems

    def knows(self, text: str) -> bool:
        """Whether the critic's tokenizer has a token for every part of a text."""
        return self._network.knows(text)

    def score(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[float | None]]:
        """Scores of the steps of each solution; prompts are those of `verify_prompt`. None where steps, the longest
        critique and the end do not fit into the context."""
        return [[None if one is None else one.score for one in opinions] for opinions in self.opinions(prompts, steps)]

    def opinions(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[StepOpinion | None]]:
        """The same; one critic disagrees with nobody."""
        asked: dict[tuple[int, ...], float | None] = {}
        rows: list[list[tuple[int, ...]]] = []
        for prompt, texts in zip(prompts, steps, strict=True):
            problem = {"prompt": self._prompts.statement_of(prompt)}
            rows.append([self._question(problem, texts[: k + 1]) for k in range(len(texts))])
            asked.update(dict.fromkeys(rows[-1]))
        room = self._network.encoder.max_length - self._config.max_tokens - 1
        fitting = sorted(ids for ids in asked if len(ids) <= room)
        asked.update(zip(fitting, self._scores(fitting), strict=True))
        return [[None if asked[ids] is None else StepOpinion(asked[ids], None) for ids in row] for row in rows]

    def critiques(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[str]:
        """The greedy critique of each whole solution."""
        questions = [
            self._question({"prompt": self._prompts.statement_of(prompt)}, texts)
            for prompt, texts in zip(prompts, steps, strict=True)
        ]
        return [self._network.tokenizer.decode(ids) for ids in write_critiques(self._network, questions, self._config)]

    def _question(self, problem: dict[str, str], steps: Sequence[str]) -> tuple[int, ...]:
        return self._network.encode(self._prompts.critique_prompt(self._agent, problem, steps), self._prompts)

    def _scores(self, questions: Sequence[tuple[int, ...]]) -> list[float]:
        samples = range(self._config.num_critiques) if self._config.num_critiques > 1 else (None,)
        rewards = [
            rewards_of(self._network, questions, write_critiques(self._network, questions, self._config, sample))
            for sample in samples
        ]
        return torch.sigmoid(torch.stack(rewards).mean(0)).tolist()


def is_cloud_critic(folder: Path) -> bool:
    """Whether a checkpoint folder holds a critic of this kind."""
    return (Path(folder) / HEAD_FILE).is_file()


def initial_network(folder: Path, config: CloudCriticConfig) -> CloudNetwork:
    """A causal language model with a new head whose first reward is 0 for everything; float32."""
    folder = Path(folder)
    if not (folder / "config.json").is_file() or not (folder / "tokenizer.json").is_file():
        raise CheckpointError(
            f"{folder} has no config.json or no tokenizer.json: a critic that writes critiques starts from a causal "
            "language model in Hugging Face format"
        )
    architecture = (json.loads((folder / "config.json").read_text()).get("architectures") or [""])[0]
    if not architecture.endswith("ForCausalLM"):
        raise CheckpointError(
            f"{folder} is a {architecture or 'model without an architecture'}, which cannot write a critique; start "
            "from a causal language model (cloud_critic.init), such as the policy"
        )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    head = RewardHead(model.config.get_text_config().hidden_size, config.dropout)
    draw = torch.Generator().manual_seed(config.seed)
    with torch.no_grad():
        head.dense.weight.normal_(0.0, INITIAL_STD, generator=draw)
        head.dense.bias.zero_()
        head.out.weight.zero_()
        head.out.bias.zero_()
    tokenizer = Tokenizer.load(folder)
    if not tokenizer.eos_ids:
        raise CheckpointError(f"{folder} declares no end-of-text token, by which a critique would end")
    return CloudNetwork(model, head, tokenizer, load_encoder(folder), min(tokenizer.eos_ids))


def load_cloud_critic(
    folder: Path | str, config: CloudCriticConfig, prompts: PromptStyle, agent: AgentConfig, device: str | None = None
) -> CloudScorer:
    """The scorer of a checkpoint folder; device None takes CUDA if there is one. CheckpointError if it is none."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    if not is_cloud_critic(folder):
        raise CheckpointError(f"{folder} has no {HEAD_FILE}: it is no critic that writes critiques")
    network = initial_network(folder, config)
    network.head.load_state_dict(load_file(folder / HEAD_FILE))
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    network.model.to(device)
    network.head.to(device)
    return CloudScorer(network, manifest, read_training_problems(folder), config, prompts, agent)
