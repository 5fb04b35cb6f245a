"""critiques, verdicts, refinements, critique_records -> rows for training critics and judges, among the training sets.

    sft          critiques to imitate: final critiques of multi_critique, or its agents' own, whose verdict is the grade
                 (`kept_rationales`); critiques whose refinements are right (`ctrl`); records of the other methods
    preference   pairs of critiques: validated by refinements (`marv_critique_pairs`), a right judgment against a wrong
                 one (`judgment_pairs`), and the records that are pairs
    prompts      graded samples and preference pairs as questions with a verifiable answer (`recycled_rollouts`,
                 `preference_prompts`), at most a set share of the rows (`judge_share`)

All of it is off unless the section `training_sets` names it. What decides is the methods of `reasonmill apply`; here
they get the lake's tables, and what they keep gets the prompt that the critic is asked with.

Invariants
- Only training problems reach a set, and gold steps are never read.
- No prompt shows the reference answer, whatever the agents were shown.
- A critique whose verdict is not the grade is never imitated, and never the chosen side of a judgment pair.
- Without a row to make, the sets are as they were.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.agents.ask import Row
from pipelines.agents.judge_data import (
    JUDGE_SHARE,
    JUDGMENT_PAIRS,
    KEPT_RATIONALES,
    PREFERENCE_PROMPTS,
    RECYCLED_ROLLOUTS,
)
from pipelines.agents.rewards import CTRL
from pipelines.config import AgentConfig, TrainingSetsConfig
from pipelines.curation import Curation
from pipelines.reasoning.prompts import CrucialInformation, PromptStyle
from pipelines.records import stable_digest
from pipelines.tables import RELATIONS, SCHEMAS
from pipelines.warehouse import Rows, Warehouse

FINAL, RATIONALES, PASSING, RECORDS = "final_critiques", "kept_rationales", "passing_critiques", "critique_records"
MARV, JUDGMENTS = "marv_pairs", "judgment_pairs"
RECYCLED, PREFERENCES = "recycled_rollouts", "preference_prompts"
SFT, PREFERENCE, PROMPTS = "sft", "preference", "prompts"
JUDGE_SOLUTION, JUDGE_PAIR = "judge_solution", "judge_pair"  # templates of the prompt style
FOLDER = "training_sets/"


@dataclass(frozen=True)
class CritiqueTables:
    """The tables that these rows are made from."""

    problems: pa.Table
    rollouts: Rows
    critiques: pa.Table
    verdicts: pa.Table
    refinements: pa.Table
    critique_records: pa.Table
    preference_pairs: pa.Table


@dataclass(frozen=True)
class Asking:
    """How a critic is asked; `chat_text` puts a user message into its chat template, None: there is none."""

    prompts: PromptStyle
    agents: Sequence[AgentConfig]
    chat_text: Callable[[str], str] | None

    def text(self, prompt: str) -> str:
        """The prompt as the model reads it."""
        return self.chat_text(prompt) if self.chat_text else prompt

    def critique_prompt(self, problem: Row, said: Row) -> str:
        """What the agent of `said` is asked about its rollout, the first agent where it is nobody's; no reference."""
        agent = next((one for one in self.agents if one.name == said["agent"]), self.agents[0])
        shown = json.loads(said["crucial_information"]) if said["crucial_information"] else None
        crucial = shown and CrucialInformation(shown["task"], tuple(shown["criteria"]), None)
        return self.text(self.prompts.critique_prompt(agent, problem, said["steps"], crucial))


def with_critique_rows(
    sets: Mapping[str, pa.Table], tables: CritiqueTables, asking: Asking, config: TrainingSetsConfig, night: str
) -> tuple[dict[str, pa.Table], dict[str, dict[str, int]]]:
    """(the sets with what the configuration adds to them, set -> counts of rows added, and left out by reason).

    Raises ConfigError where judge rows are wanted and the prompt style has no words for them.
    """
    if not (config.critique_sft or config.critique_preference or config.judge_share):
        return dict(sets), {}
    made, counts = dict(sets), {name: Counter[str]() for name in (SFT, PREFERENCE, PROMPTS)}
    with Warehouse.over(vars(tables)) as warehouse:
        problems = {row["problem_id"]: row for row in tables.problems.to_pylist()}
        said = warehouse.named(FOLDER + "said")
        records = warehouse.named(FOLDER + "record_rows").to_pylist()
        critic = _Critic(problems, said.to_pylist(), asking)
        if config.critique_sft:
            answers = [row for place, origin in enumerate(config.critique_sft)
                       for row in _answers(critic, said, records, origin, place, counts[SFT])]  # fmt: skip
            warehouse.hold("critic_answers", pa.Table.from_pylist(answers, schema=RELATIONS["critic_answers"]))
            made[SFT] = _joined(warehouse, made, SFT, config, night, counts)
        if config.critique_preference:
            pairs = [row for place, origin in enumerate(config.critique_preference)
                     for row in _pairs(critic, said, records, tables.preference_pairs, origin, place)]  # fmt: skip
            warehouse.hold("critic_pairs", pa.Table.from_pylist(pairs, schema=RELATIONS["critic_pairs"]))
            made[PREFERENCE] = _joined(warehouse, made, PREFERENCE, config, night, counts)
        if config.judge_share > 0:
            answers = warehouse.named(FOLDER + "graded_answers", separator=asking.prompts.step_separator)
            judged = _judge_prompts(asking, config, problems, answers, tables.preference_pairs, night)
            made[PROMPTS] = _mixed(made[PROMPTS], judged, config.judge_share, counts[PROMPTS])
    return made, {name: dict(one) for name, one in counts.items()}


@dataclass(frozen=True)
class _Critic:
    """What was said, by id, and how it was asked for."""

    problems: Mapping[str, Row]
    said: Sequence[Row]
    asking: Asking

    def prompt_of(self, one: Row) -> str:
        return self.asking.critique_prompt(self.problems[one["problem_id"]], one)


def _joined(
    warehouse: Warehouse,
    made: Mapping[str, pa.Table],
    name: str,
    config: TrainingSetsConfig,
    night: str,
    counts: Mapping[str, Counter[str]],
) -> pa.Table:
    """A set and behind it the critiques of the relation that the query of this set reads."""
    query = f"{FOLDER}critique_{name}"
    added = warehouse.named(query, max_per_problem=config.max_critiques_per_problem, night=night)
    counts[name]["num_critiques"] += added.num_rows
    return pa.concat_tables([made[name], added.cast(SCHEMAS[name])])


# critiques to imitate -----------------------------------------------------------------------------


def _answers(
    critic: _Critic, said: pa.Table, records: Sequence[Row], origin: str, place: int, counts: Counter[str]
) -> Iterator[Row]:
    """Rows of the relation critic_answers."""
    known = {"place": place}
    if origin == RECORDS:
        for one in records:
            if one["rejected"] is None:
                yield known | {
                    "row_id": one["record_id"], "origin": one["method"], "problem_id": one["problem_id"],
                    "rollout_id": one["rollout_id"], "prompt": critic.asking.text(one["prompt"]),
                    "completion": one["response"],
                }  # fmt: skip
        return
    kept = _kept(said, origin, counts)
    for one, stays in zip(critic.said, kept, strict=True):
        if stays:
            yield known | {
                "row_id": one["critique_id"], "origin": origin, "problem_id": one["problem_id"],
                "rollout_id": one["rollout_id"], "prompt": critic.prompt_of(one), "completion": one["text"],
            }  # fmt: skip


def _kept(said: pa.Table, origin: str, counts: Counter[str]) -> list[bool]:
    """Which critiques this origin takes; the others are counted by reason, apart from those that it does not look at.

    Agents' rationales are thinned to equally many of each label. The others are not: final critiques are few, and where
    refinements follow wrong verdicts alone, balancing what refinements say would leave nothing.
    """
    is_final = pc.is_null(said["agent"])
    looked_at = {FINAL: is_final, RATIONALES: pc.invert(is_final), PASSING: pc.is_valid(said["critique_id"])}[origin]
    rows = said.filter(looked_at)
    method, table = (CTRL, _judged(rows)) if origin == PASSING else (KEPT_RATIONALES, _judgments(rows))
    params = method.params(balanced=origin == RATIONALES)
    decided = method.run(table, params).to_pylist()
    ids = set()
    for critique_id, decision, one in zip(rows["critique_id"].to_pylist(), decided, rows.to_pylist(), strict=True):
        reason = decision["reason"] or ("wrong_verdict" if one["verdict"] != one["label"] else None)
        if reason is None:
            ids.add(critique_id)
        else:
            counts[f"num_{origin}_{reason}"] += 1
    return [critique_id in ids for critique_id in said["critique_id"].to_pylist()]


def _judgments(said: pa.Table) -> pa.Table:
    """Critiques as judgments of their rollouts."""
    names = {"item_id": "rollout_id", "judgment_id": "critique_id", "critique": "text", "verdict": "verdict",
             "label": "label"}  # fmt: skip
    return _numbered(said, names)


def _judged(said: pa.Table) -> pa.Table:
    """Critiques with what refinements made of them."""
    names = {"rollout_id": "rollout_id", "critique": "text", "verdict": "verdict",
             "original_reward": "outcome_reward", "refinement_rewards": "refinement_rewards"}  # fmt: skip
    return _numbered(said, names)


def _numbered(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    positions = pa.array(range(table.num_rows), pa.int64())
    return pa.table({"position": positions, **{name: table[source] for name, source in names.items()}})


# pairs of critiques -------------------------------------------------------------------------------


def _pairs(
    critic: _Critic, said: pa.Table, records: Sequence[Row], mined: pa.Table, origin: str, place: int
) -> Iterator[Row]:
    """Rows of the relation critic_pairs."""
    if origin == RECORDS:
        for one in records:
            if one["rejected"] is not None:
                yield {
                    "pair_id": one["record_id"], "place": place, "method": one["method"],
                    "problem_id": one["problem_id"], "prompt": critic.asking.text(one["prompt"]),
                    "chosen": one["response"], "rejected": one["rejected"],
                    "chosen_score": None, "rejected_score": None,
                }  # fmt: skip
        return
    by_id = {one["critique_id"]: one for one in critic.said}
    for found in _mined(mined) if origin == MARV else _judgment_pairs(said):
        chosen, rejected = by_id.get(found["chosen_id"]), by_id.get(found["rejected_id"])
        if chosen is not None and rejected is not None:
            yield {
                "pair_id": found["pair_id"],
                "place": place, "method": found["method"], "problem_id": chosen["problem_id"],
                "prompt": critic.prompt_of(chosen | {"agent": None}), "chosen": chosen["text"],
                "rejected": rejected["text"], "chosen_score": found["chosen_score"],
                "rejected_score": found["rejected_score"],
            }  # fmt: skip


def _mined(pairs: pa.Table) -> list[Row]:
    """The pairs of critiques among tonight's preference pairs, with their ids and their refinements' mean grades."""
    return pairs.filter(pc.fill_null(pc.equal(pairs["kind"], "critique"), False)).to_pylist()


def _judgment_pairs(said: pa.Table) -> list[Row]:
    """A judgment that is the grade against one that is not, scores 1 and 0; their own words are put in by id."""
    agents = said.filter(pc.is_valid(said["agent"]))
    found = JUDGMENT_PAIRS.run(_judgments(agents), JUDGMENT_PAIRS.params(kinds=("critique",))).to_pylist()
    known = {"method": JUDGMENTS, "chosen_score": 1.0, "rejected_score": 0.0}
    return [one | known | {"pair_id": stable_digest(JUDGMENTS, one["chosen_id"], one["rejected_id"])} for one in found]


# judge prompts among prompts ----------------------------------------------------------------------


def _judge_prompts(
    asking: Asking, config: TrainingSetsConfig, problems: Mapping[str, Row], answers: pa.Table, pairs: pa.Table,
    night: str,
) -> list[Row]:  # fmt: skip
    """Rows of the set `prompts` that ask for a judgment, each once."""
    makers = {RECYCLED: lambda: _recycled(asking, answers), PREFERENCES: lambda: _preferences(asking, problems, pairs)}
    rows = [row for origin in config.judge_prompts_from for row in makers[origin]()]
    distinct = {row["prompt"]: row for row in reversed(rows)}
    kept = sorted(distinct.values(), key=lambda row: (row["problem_id"], row["family"], row["prompt"]))
    return [row | {"difficulty": None, "night": night} for row in kept]


def _recycled(asking: Asking, answers: pa.Table) -> Iterator[Row]:
    """Is it right, and which one is; a solution to write is no question that can be checked by its answer."""
    params = RECYCLED_ROLLOUTS.params(kinds=("pointwise", "pairwise"))
    for one in RECYCLED_ROLLOUTS.run(answers, params).to_pylist():
        if one["kind"] == "pointwise":
            prompt = asking.prompts.role(JUDGE_SOLUTION, prompt=one["prompt"], solution=one["first"])
        else:
            prompt = asking.prompts.role(JUDGE_PAIR, prompt=one["prompt"], first=one["first"], second=one["second"])
        yield {"prompt": asking.text(prompt), "reference_answer": one["label"], "problem_id": one["problem_id"],
               "family": f"judge_{one['kind']}"}  # fmt: skip


def _preferences(asking: Asking, problems: Mapping[str, Row], pairs: pa.Table) -> Iterator[Row]:
    """Which of two continuations is the better one."""
    is_train = [
        kind != "critique" and problems.get(problem_id, {}).get("split") == "train"
        for kind, problem_id in zip(pairs["kind"].to_pylist(), pairs["problem_id"].to_pylist(), strict=True)
    ]
    known = pairs.filter(pa.array(is_train, pa.bool_()))
    table = _numbered(known, {name: name for name in ("prompt", "chosen", "rejected")})
    decided = PREFERENCE_PROMPTS.run(table, PREFERENCE_PROMPTS.params()).to_pylist()
    for one, made in zip(known.to_pylist(), decided, strict=True):
        if made["reason"] is None:
            prompt = asking.prompts.role(JUDGE_PAIR, prompt=one["prompt"], first=made["first"], second=made["second"])
            label = {"1": "first", "2": "second"}[made["reference_answer"]]
            yield {"prompt": asking.text(prompt), "reference_answer": label, "problem_id": one["problem_id"],
                   "family": "judge_preference"}  # fmt: skip


def _mixed(prompts: pa.Table, judged: Sequence[Row], share: float, counts: Counter[str]) -> pa.Table:
    """The prompts and behind them as many judge rows as the share allows, by lot."""
    ids = [stable_digest("prompt", text) for text in prompts["prompt"].to_pylist()]
    ids += [stable_digest("judge", row["prompt"]) for row in judged]
    is_judge = [False] * prompts.num_rows + [True] * len(judged)
    rows = pa.table(
        {
            "position": pa.array(range(len(ids)), pa.int64()),
            "row_id": pa.array(ids, pa.string()),
            "is_judge": pa.array(is_judge, pa.bool_()),
        }
    )
    method: Curation = JUDGE_SHARE
    kept = method.run(rows, method.params(share=share))["kept"].to_pylist()[prompts.num_rows :]
    stay = [row for row, stays in zip(judged, kept, strict=True) if stays]
    counts["num_judge_rows"] += len(stay)
    counts["num_judge_rows_over_share"] += len(judged) - len(stay)
    return pa.concat_tables([prompts, pa.Table.from_pylist(stay, schema=SCHEMAS["prompts"])])
