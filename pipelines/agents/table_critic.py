"""Judge, router, critic, refiner and curator with a growing tree of templates (Table-Critic), on step solutions.

Per sample, at most `max_refinements` rounds:

1. Judge (`table_judge`): sees problem and final answer only; `[Correct]` ends the rounds.
2. Router (`table_router`): names a path in the tree of errors, such as `calculation error -> wrong number`, or random.
3. Critic (`table_critic`): gets up to `num_templates` templates of that leaf by lot (of all leaves where the path leads
   to none), goes step by step, ends with `[Incorrect] Step k`. No k, or a step that does not exist: the answer stays.
4. Refiner: goes on before step k with the critique; where k is the last step only that step is written anew.
5. Curator, only where the judge then says correct (no grade is used): (solution, critique) becomes a template. Path
   known: `table_curator` compares with the leaf's templates; two different names split the leaf, else it is appended.
   Path random: it names a new branch.

Samples are worked through one after the other, in the order of a hash, since every one may change the tree: the result
depends on that order, as in the paper. Steps count from 0. Record: the last critique, reward = grade of the last
answer; kept where a wrong sample became right; else `judged_right`, `no_step`, `still_wrong`, `made_wrong`,
`was_right`, `unreadable` (a judge's answer that is neither), `not_graded`.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import Field

from pipelines.agents.ask import Reply, Room, Row, ask, attempt_of
from pipelines.agents.records import AgentMethod, Group, Record, outcome
from pipelines.config import Section
from pipelines.reasoning.prompts import numbered
from pipelines.records import stable_digest, stable_seed

ROLES = ("table_judge", "table_router", "table_critic", "table_curator")
SEED_BRANCHES = ("calculation error", "reasoning error")
MAX_REPLY = 400  # characters of the curator's reply that are read
_STEP = re.compile(r"\[incorrect\]\s*step\s*(\d{1,4})", re.IGNORECASE)
_NAMES = re.compile(r"^\W*names?\W*[:=]\s*(.+?)\s*[,;|]\s*(.+?)\W*$", re.IGNORECASE | re.MULTILINE)
_BRANCH = re.compile(r"^\W*branch\W*[:=]\s*(.+?)\W*$", re.IGNORECASE | re.MULTILINE)


class TableCriticParams(Section):
    """Parameters of `table_critic`."""

    max_refinements: int = Field(5, ge=1, le=16, description="rounds per sample, at most")
    num_templates: int = Field(5, ge=1, le=32, description="templates that the critic is shown, at most")


@dataclass
class Branch:
    """A kind of error: either with kinds below it, or a leaf with templates."""

    children: dict[str, "Branch"] = field(default_factory=dict)
    templates: list[str] = field(default_factory=list)

    def leaves(self) -> Iterator["Branch"]:
        """All leaves below, in the order in which they were made."""
        if not self.children:
            yield self
        for child in self.children.values():
            yield from child.leaves()


def new_tree() -> Branch:
    """The root with its two seed branches."""
    return Branch({name: Branch() for name in SEED_BRANCHES})


def leaf_at(tree: Branch, path: Sequence[str]) -> Branch | None:
    """The leaf that a path names; None where it leads to none."""
    for name in path:
        if name not in tree.children:
            return None
        tree = tree.children[name]
    return tree if path and not tree.children else None


def path_of(text: str) -> tuple[str, ...]:
    """`(a -> b -> <END>)` as names; empty for random and for what cannot be read."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    names = [part.strip(" ()[].*`\"'").lower() for part in line[:400].split("->")]
    names = [name for name in names if name and name not in ("<end>", "end")]
    return () if names == ["random"] else tuple(names)


def shown_templates(tree: Branch, path: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """Up to `count` templates of the leaf by lot; of all leaves where the path leads to none."""
    leaf = leaf_at(tree, path)
    pool = [template for one in ([leaf] if leaf else tree.leaves()) for template in one.templates]
    return rng.sample(pool, min(count, len(pool)))


def split(leaf: Branch, template: str, old_name: str, new_name: str) -> None:
    """The leaf becomes two: what it held, and the new template."""
    leaf.children = {old_name: Branch(templates=list(leaf.templates)), new_name: Branch(templates=[template])}
    leaf.templates = []


def grow(tree: Branch, path: Sequence[str], template: str) -> None:
    """A new branch at the first name that is missing; a name that exists and has kinds below it takes it as `other`."""
    for name in path:
        tree = tree.children.setdefault(name, Branch())
        if tree.templates and name != path[-1]:
            split(tree, template, "known", "other")
            return
    target = tree.children.setdefault("other", Branch()) if tree.children else tree
    target.templates.append(template)


async def run(room: Room, groups: Sequence[Group], params: TableCriticParams) -> list[Record]:
    """One record per sample; the tree is shared by all of them."""
    tree = new_tree()
    tasks = [(group.problem, rollout) for group in groups for rollout in group.rollouts]
    tasks.sort(key=lambda task: stable_digest("table_critic", task[1]["rollout_id"]))
    return [await _work(room, tree, *task, params) for task in tasks]


async def _work(room: Room, tree: Branch, problem: Row, rollout: Row, params: TableCriticParams) -> Record:
    steps, before = tuple(rollout["steps"]), outcome(rollout)
    after, answer, replies = before, rollout["answer"], []
    prompt = critique = step = reason = None
    pending: tuple[tuple[str, ...], str] | None = None  # path and template, until the judge agrees
    for number in range(params.max_refinements + 1):
        about = ("table", rollout["rollout_id"], number)
        reply = await _ask(room, problem, ROLES[0], about, answer=answer or "none")
        replies.append(reply)
        verdict = judged(reply.text or "")
        if verdict is None:
            reason = "unreadable"
        if verdict is not False or number == params.max_refinements:
            break
        routed = await _ask(room, problem, ROLES[1], about, numbered_steps=numbered(steps), tree=outline(tree))
        path = path_of(routed.text or "")
        rng = random.Random(stable_seed(room.config.seed, *about))
        shown = "\n\n".join(shown_templates(tree, path, params.num_templates, rng)) or "none"
        said = await _ask(room, problem, ROLES[2], about, numbered_steps=numbered(steps), templates=shown)
        replies += [routed, said]
        found = _STEP.findall(said.text or "")
        if not found or int(found[-1]) >= len(steps):
            reason = "no_step"
            break
        prompt, critique, step = said.prompt, str(said.text), int(found[-1])
        refine_prompt = room.prompts.refine_prompt(problem, steps, critique)
        begun = "".join(one + room.prompts.step_separator for one in steps[:step])
        refined = await ask(
            room, refine_prompt, ("table", "refine", *about), str(problem["problem_id"]), purpose="refine",
            answer_start=begun,
        )  # fmt: skip
        attempt = attempt_of(room, problem, refined, steps[:step])
        replies.append(refined)
        if refined.text is None:
            break
        pending = (path, f"{numbered(steps)}\n{critique}")
        steps, after, answer = attempt.steps, attempt.outcome_reward, attempt.answer
    if pending is not None and verdict:
        replies += await _curate(room, tree, problem, rollout, *pending)
    return Record(
        "critique", (rollout["rollout_id"],), str(problem["problem_id"]), str(rollout["rollout_id"]), step=step,
        prompt=prompt, response=critique, predicted=answer, label=str(problem["reference_answer"]), reward=after,
        reason=reason or _reason(before, after, critique), replies=tuple(replies),
    )  # fmt: skip


def judged(text: str) -> bool | None:
    """The judge's word; None where it is neither."""
    if "[incorrect]" in text.lower():
        return False
    return True if "[correct]" in text.lower() else None


def outline(tree: Branch, depth: int = 0) -> str:
    """The tree's names, indented."""
    lines = []
    for name, child in tree.children.items():
        lines.append("  " * depth + name)
        below = outline(child, depth + 1)
        lines += [below] if below else []
    return "\n".join(lines)


async def _curate(
    room: Room, tree: Branch, problem: Row, rollout: Row, path: Sequence[str], template: str
) -> list[Reply]:
    leaf = leaf_at(tree, path)
    if leaf is not None and not leaf.templates:
        leaf.templates.append(template)
        return []
    old = "\n\n".join(leaf.templates[:5]) if leaf else "none"
    about = ("table", "curate", rollout["rollout_id"])
    reply = await _ask(room, problem, ROLES[3], about, templates=old, critique=template, tree=outline(tree))
    if leaf is not None:
        names = _NAMES.search((reply.text or "")[:MAX_REPLY])
        if names and names[1].strip().lower() != names[2].strip().lower():
            split(leaf, template, names[1].strip().lower(), names[2].strip().lower())
        else:
            leaf.templates.append(template)
    elif branch := _BRANCH.search((reply.text or "")[:MAX_REPLY]):
        grow(tree, path_of(branch[1]) or ("other",), template)
    return [reply]


async def _ask(room: Room, problem: Row, role: str, about: Sequence[object], **values: object) -> Reply:
    prompt = room.prompts.role(role, prompt=problem["prompt"], **values)
    return await ask(room, prompt, (role, *about), str(problem["problem_id"]))


def _reason(before: float | None, after: float | None, critique: str | None) -> str | None:
    if critique is None:
        return "judged_right"
    if before is None or after is None:
        return "not_graded"
    if before == 1.0:
        return "was_right" if after == 1.0 else "made_wrong"
    return None if after == 1.0 else "still_wrong"


TABLE_CRITIC = AgentMethod(TableCriticParams, run, ROLES)
