"""A tiny world for methods of agents: the problem 2+3-1, a critic that computes, a policy that follows its own steps.

What the scripted model says is a function of the prompt alone, so every expected row can be worked out by hand.
"""

import asyncio
import re
from collections.abc import Callable, Sequence

from reasoning_worlds import GRADING, NIGHT, ScriptedSession, make_problem

from pipelines.config import CritiquesConfig
from pipelines.critiques import criticise
from pipelines.reasoning.prompts import load_prompts
from pipelines.rows import rows_to_table

PROBLEM = make_problem(prompt="2+3-1", reference_answer="4")
RIGHT = ("2+3=5", "5-1=4", "#### 4")
WRONG = ("2+3=6", "6-1=5", "#### 5")
EQUATION = re.compile(r"(-?\d+)([+\-*])(\d+)=(-?\d+)")
Script = Callable[[str], str]


def rollout(name: str, steps: Sequence[str] = RIGHT, grade: float | None = 1.0, **changes: object) -> dict:
    answer = steps[-1].removeprefix("#### ") if steps[-1].startswith("####") else None
    return {"rollout_id": name, "problem_id": "p1", "group_id": "g", "steps": list(steps), "answer": answer,
            "outcome_reward": grade} | changes  # fmt: skip


def value_of(a: int, op: str, b: int) -> int:
    return {"+": a + b, "-": a - b, "*": a * b}[op]


def computing_critic(steps: Sequence[str]) -> str:
    """Calls wrong what does not compute, or does not begin with the chain 2+3, x-1."""
    lines, first = [], -1
    for i, step in enumerate(steps):
        match, chain = EQUATION.match(step), ("2+3=", r"-?\d+-1=")
        holds = match is None or value_of(int(match[1]), match[2], int(match[3])) == int(match[4])
        follows = match is None or i > 1 or re.match(re.escape(chain[0]) if i == 0 else chain[1], step)
        is_right = holds and bool(follows)
        first = i if first < 0 and not is_right else first
        lines.append(f"{i} right" if is_right else f"{i} wrong")
    return "\n".join([*lines, f"verdict {first}", ""])


def say(text: str) -> str:
    """The computing critic, a refiner that writes the right solution, a policy that goes on from the last value."""
    if text.startswith("<critique"):
        return computing_critic(text.split("\n")[1:-2])
    if text.startswith("<refine>"):
        return "\n".join((*RIGHT, ""))
    written = [line for line in text.split("\n")[1:] if line]
    if not written:
        return "\n".join((*RIGHT, ""))
    value = int(written[-1].partition("=")[2])
    rest = [f"{value}-1={value - 1}", f"#### {value - 1}"] if len(written) == 1 else [f"#### {value}"]
    return "\n".join([*rest, ""])


def records(
    method: str,
    rollouts: Sequence[dict],
    script: Script = say,
    style: str = "starter",
    config: dict | None = None,
    **parameters: object,
) -> list[dict]:
    """The rows of `critique_records` of one method, through the pipeline."""
    session = ScriptedSession(lambda text, rng: script(text))
    chosen = {"methods": [{"method": method, "parameters": parameters}], "max_tokens": 400, **(config or {})}
    made = asyncio.run(
        criticise(
            rows_to_table("problems", [PROBLEM, PROBLEM | {"problem_id": "p2"}]),
            rows_to_table("rollouts", rollouts), session,
            CritiquesConfig(**chosen), load_prompts(style), night=NIGHT, **GRADING,
        )
    )  # fmt: skip
    assert made.critiques.num_rows == made.verdicts.num_rows == 0
    rows = made.critique_records.to_pylist()
    assert all(row["kept"] == (row["reason"] is None) for row in rows)
    assert len({row["record_id"] for row in rows}) == len(rows)
    return rows
