"""The starter's problem families: seeded generators, exact verification, an exact gold label for every step.

    arithmetic   12+7-5*3              evaluated left to right without precedence; answer = the number
    dial         12+7-5*3 band 13 mod 4   the same chain; answer = result // 13 mod 4. A chain that went wrong still
                                       gives the right answer about 1/m of the time, so m (`dial_choices`) sets the
                                       share of flawed-but-right rollouts. (A plain `mod m` would not: the slips
                                       are off by multiples of 10, so they would meet m = 2 and 10 always.)
    countdown    3,5,7 to 26           use every number once with + - *; each line shows what is left

Every line of a solution is one step, the answer line (`#### 42`) too. A chain step is right if it uses the previous
result *as written* and the problem's next operation and operand, and computes correctly. A countdown step is right
if it is a legal move, computed correctly, after which the target can still be reached.

Invariants: a problem's split depends on its canonical expression alone (so a chain never appears in `train` as
arithmetic and in `held_out` as a dial); all randomness comes from the seed given.
"""

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FAMILIES = ("arithmetic", "dial", "countdown")
GRADERS = {"arithmetic": "number", "dial": "exact", "countdown": "countdown"}
HELD_OUT_PERCENT = 10
MAX_MISSES = 2000
SMALLEST_VALUE, LARGEST_VALUE = 10, 99  # of a chain without mistakes
LARGEST_FACTOR = 24  # only values up to here are multiplied
DEFAULT_LEVEL = 2
EVALUATION_SEED = 20261121
EVALUATION_MIX = {"arithmetic": 720, "dial": 360, "countdown": 120}  # 1,200 frozen problems at the default level

_OPERATION = re.compile(r"([+\-*])(\d+)")
_CHAIN_STEP = re.compile(r"(-?\d+)([+\-*])(\d+)=(-?\d+)")
_MOVE = re.compile(r"(\d+)([+\-*])(\d+)=(\d+) left (\d+(?:,\d+)*)")


@dataclass(frozen=True)
class StarterProblem:
    """One generated problem. `prompt` is the statement without role token; `canonical` decides the split."""

    problem_id: str
    family: str
    difficulty: int
    prompt: str
    reference_answer: str
    canonical: str
    split: str
    grader: str
    is_evaluation: bool


@dataclass(frozen=True)
class Chain:
    """`start` and the operations applied to it from left to right; `modulus` is None for plain arithmetic."""

    start: int
    operations: tuple[tuple[str, int], ...]
    modulus: int | None = None


# -- arithmetic that every family shares ---------------------------------------------------------------------------


def apply(a: int, operator: str, b: int) -> int:
    return a + b if operator == "+" else a - b if operator == "-" else a * b


def slip(a: int, operator: str, b: int) -> int | None:
    """The result that the starter's misconception gives for `a operator b`; None where it has none.

    A carry or borrow is dropped, but only with certain digits: `+` and `-` of a number that ends in 6, 7 or 8,
    `*` by 3, 6, 7 or 8.
    """
    if a < 0:
        return None
    ones_a, ones_b = a % 10, b % 10
    if operator == "+" and ones_a + ones_b >= 10 and ones_b in (6, 7, 8):
        return a + b - 10
    if operator == "-" and ones_a < ones_b and ones_b in (6, 7, 8):
        return a - b + 10
    if operator == "*" and b in (3, 6, 7, 8) and a >= 10 and ones_a * b >= 10:
        return a * b - 10 * (ones_a * b // 10)
    return None


# -- chains: arithmetic and dial -----------------------------------------------------------------------------------


def band_width(modulus: int) -> int:
    """Width of a dial's bands: two values 10 apart share a band about 1/modulus of the time (w = 10 / (1 - 1/m))."""
    return round(10 / (1 - 1 / modulus))


def parse_chain(prompt: str) -> Chain:
    """Read a chain from its prompt.

    Raises:
        ValueError: when `prompt` is neither `12+7-5` nor `12+7-5 band 13 mod 4`.
    """
    match = re.fullmatch(r"(\d+)((?:[+\-*]\d+)+)(?: band (\d+) mod (\d+))?", prompt)
    modulus = int(match.group(4)) if match is not None and match.group(4) else None
    if match is None or (modulus is not None and (modulus < 2 or int(match.group(3)) != band_width(modulus))):
        raise ValueError(f"not a chain problem: {prompt!r}; expected e.g. '12+7-5' or '12+7-5 band 13 mod 4'")
    operations = tuple((operator, int(operand)) for operator, operand in _OPERATION.findall(match.group(2)))
    return Chain(int(match.group(1)), operations, modulus)


def chain_answer(chain: Chain, value: int) -> str:
    """The answer text for a final `value`: the value, or its band counted modulo m."""
    return str(value if chain.modulus is None else value // band_width(chain.modulus) % chain.modulus)


def read_chain_step(step: str) -> tuple[int, str, int, int] | None:
    """`a, operator, b, result` of a line `a+b=result`; None for any other line."""
    match = _CHAIN_STEP.fullmatch(step)
    return None if match is None else (int(match[1]), match[2], int(match[3]), int(match[4]))


def expected_chain_step(chain: Chain, index: int, previous: int) -> str:
    """The one right text of step `index` when the line before shows `previous`."""
    if index < len(chain.operations):
        operator, operand = chain.operations[index]
        return f"{previous}{operator}{operand}={apply(previous, operator, operand)}"
    return f"#### {chain_answer(chain, previous)}"


def expected_chain_steps(chain: Chain, steps: Sequence[str]) -> list[str | None]:
    """What each of `steps` should have been, given the lines before it as written."""
    expected, previous = [], chain.start
    for index, step in enumerate(steps):
        wanted = expected_chain_step(chain, index, previous) if index <= len(chain.operations) else None
        expected.append(wanted)
        read = read_chain_step(step)
        if read is not None:
            previous = read[3]
        elif wanted is not None and "=" in wanted:
            previous = int(wanted.split("=")[1])
    return expected


# -- countdown -----------------------------------------------------------------------------------------------------


def parse_countdown(prompt: str) -> tuple[tuple[int, ...], int]:
    match = re.fullmatch(r"(\d+(?:,\d+)*) to (\d+)", prompt)
    if match is None:
        raise ValueError(f"not a countdown problem: {prompt!r}; expected e.g. '3,5,7 to 26'")
    return tuple(int(n) for n in match.group(1).split(",")), int(match.group(2))


def moves(numbers: tuple[int, ...]) -> Iterator[tuple[int, str, int, int, tuple[int, ...]]]:
    """Every legal move `(a, operator, b, result, left)`: a >= b, results 0..999, `left` sorted."""
    ordered = sorted(numbers, reverse=True)
    for i in range(len(ordered)):
        for j in range(i + 1, len(ordered)):
            a, b = ordered[i], ordered[j]
            rest = ordered[:i] + ordered[i + 1 : j] + ordered[j + 1 :]
            for operator in "+-*":
                result = apply(a, operator, b)
                if result <= 999:
                    yield a, operator, b, result, tuple(sorted([*rest, result]))


@lru_cache(maxsize=200_000)
def reachable(numbers: tuple[int, ...], target: int) -> bool:
    """Can `target` be made from `numbers` (sorted), using every one of them?"""
    if len(numbers) == 1:
        return numbers[0] == target
    return any(reachable(left, target) for *_, left in moves(numbers))


def render_move(a: int, operator: str, b: int, result: int, left: Sequence[int]) -> str:
    return f"{a}{operator}{b}={result} left {','.join(str(n) for n in left)}"


def countdown_steps(prompt: str, steps: Sequence[str]) -> list[bool]:
    numbers, target = parse_countdown(prompt)
    state: tuple[int, ...] | None = tuple(sorted(numbers))
    labels = []
    for step in steps:
        if state is None or not reachable(state, target):
            labels.append(False)
            continue
        if len(state) == 1:
            labels.append(step == f"#### {target}")
            state = None
            continue
        match = _MOVE.fullmatch(step)
        after = None
        if match is not None:
            a, operator, b, result = int(match[1]), match[2], int(match[3]), int(match[4])
            left = tuple(int(n) for n in match[5].split(","))
            after = left if (a, operator, b, result, left) in set(moves(state)) else None
        labels.append(after is not None and reachable(after, target))
        state = after
    return labels


# -- gold labels ---------------------------------------------------------------------------------------------------


def gold_steps(family: str, prompt: str, steps: Sequence[str]) -> list[bool]:
    """Exact label of each step: True = right.

    Args:
        family: `arithmetic`, `dial` or `countdown`.
        prompt: the problem's statement.
        steps: solution lines without newline; may be any text.

    Raises:
        ValueError: unknown family, or a prompt that is not of that family.
    """
    if family == "countdown":
        return countdown_steps(prompt, steps)
    if family not in FAMILIES:
        raise ValueError(f"no gold labels for family {family!r}; the starter's families are {', '.join(FAMILIES)}")
    expected = expected_chain_steps(parse_chain(prompt), steps)
    return [wanted is not None and step == wanted for step, wanted in zip(steps, expected, strict=True)]


# -- generators ----------------------------------------------------------------------------------------------------


def split_of(canonical: str) -> str:
    """`held_out` for a fixed tenth of all canonical expressions, by hash."""
    return "held_out" if int(_digest("split:" + canonical), 16) % 100 < HELD_OUT_PERCENT else "train"


def generate(
    family: str,
    level: int,
    count: int,
    seed: int,
    dial_choices: int = 4,
    split: str | None = None,
) -> list[StarterProblem]:
    """`count` distinct problems of one family, the same for the same arguments.

    Args:
        family: `arithmetic`, `dial` or `countdown`.
        level: 1..4. Chains have level + 2 operations; countdown has 3 numbers up to level 2, then 4.
        count: how many, >= 0.
        seed: any integer.
        dial_choices: m of a dial problem, 2..10; m = 10, 4, 2 give few, some, many flawed-but-right answers.
        split: keep only `train` or `held_out`; None keeps both as they fall.

    Raises:
        ValueError: an argument out of range, or a level that does not hold `count` distinct problems.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown starter family {family!r}; known: {', '.join(FAMILIES)}")
    if not 1 <= level <= 4 or not 2 <= dial_choices <= 10:
        raise ValueError(f"level must be 1..4 and dial_choices 2..10, got {level} and {dial_choices}")
    rng = random.Random(f"{family}:{level}:{seed}:{dial_choices}")
    found: dict[str, StarterProblem] = {}
    misses = 0  # draws in a row that gave nothing new: the level is (nearly) exhausted
    while len(found) < count and misses < MAX_MISSES:
        problem = draw(family, level, rng, dial_choices)
        is_new = problem.canonical not in found and (split is None or problem.split == split)
        misses = 0 if is_new else misses + 1
        if is_new:
            found[problem.canonical] = problem
    if len(found) < count:
        raise ValueError(f"only {len(found)} distinct {family} problems of level {level} found, {count} were asked for")
    return list(found.values())


def evaluation_problems(count: int | None = None) -> list[StarterProblem]:
    """The frozen held-out problems of the default level, in a fixed mixed order; `count` keeps the first ones.

    Raises:
        ValueError: the generators no longer give the ids frozen in `evaluation_ids.txt`, or `count` exceeds them.
    """
    drawn = [
        problem
        for family, number in EVALUATION_MIX.items()
        for problem in generate(family, DEFAULT_LEVEL, number, EVALUATION_SEED, split="held_out")
    ]
    drawn.sort(key=lambda problem: _digest("order:" + problem.problem_id))
    frozen = _frozen_ids()
    if [p.problem_id for p in drawn] != list(frozen):
        raise ValueError("the generators no longer produce the frozen evaluation problems (evaluation_ids.txt)")
    if count is not None and count > len(drawn):
        raise ValueError(f"{count} evaluation problems asked for, {len(drawn)} are frozen")
    return drawn[:count]


def random_chain(rng: random.Random, num_operations: int) -> Chain:
    """Values stay within 10..99, operands are 2..9, only values up to 24 are multiplied.

    Steps this small are within reach of a model of a million parameters, so that its errors are its misconceptions
    and not noise, and so that it can learn to verify what it cannot help getting wrong.
    """
    start = value = rng.randint(SMALLEST_VALUE, LARGEST_FACTOR if rng.random() < 0.4 else LARGEST_VALUE)
    operations = []
    for _ in range(num_operations):
        if value <= LARGEST_FACTOR and rng.random() < 0.5:
            operator, operand = "*", rng.randint(2, min(9, LARGEST_VALUE // value))
        else:
            operator, operand = rng.choice("+-"), rng.randint(2, 9)
            if not SMALLEST_VALUE <= apply(value, operator, operand) <= LARGEST_VALUE:
                operator = "-" if operator == "+" else "+"
        value = apply(value, operator, operand)
        operations.append((operator, operand))
    return Chain(start, tuple(operations))


def chain_value(chain: Chain) -> int:
    value = chain.start
    for operator, operand in chain.operations:
        value = apply(value, operator, operand)
    return value


def draw(family: str, level: int, rng: random.Random, dial_choices: int = 4) -> StarterProblem:
    """One random problem (see `generate` for the arguments)."""
    if family == "countdown":
        return _draw_countdown(level, rng)
    return chain_problem(family, level, random_chain(rng, level + 2), dial_choices)


def chain_problem(family: str, level: int, chain: Chain, dial_choices: int = 4) -> StarterProblem:
    """`chain` as an arithmetic problem or as a dial of `dial_choices`."""
    canonical = f"{chain.start}" + "".join(f"{operator}{operand}" for operator, operand in chain.operations)
    if family == "arithmetic":
        return _problem(family, level, canonical, str(chain_value(chain)), canonical)
    dial = Chain(chain.start, chain.operations, dial_choices)
    prompt = f"{canonical} band {band_width(dial_choices)} mod {dial_choices}"
    return _problem(family, level, prompt, chain_answer(dial, chain_value(dial)), canonical)


def read_problem(family: str, level: int, prompt: str) -> StarterProblem:
    """The problem that a statement of a family says, in the family's own form (numbers of Countdown in order).

    Raises:
        ValueError: `prompt` is no statement of the family.
    """
    if family == "countdown":
        numbers, target = parse_countdown(prompt)
        text = f"{','.join(map(str, sorted(numbers)))} to {target}"
        return _problem(family, level, text, str(target), text)
    chain = parse_chain(prompt)
    if (chain.modulus is None) != (family == "arithmetic"):
        raise ValueError(f"{prompt!r} is a chain, but not of the family {family}")
    return chain_problem(family, level, chain, chain.modulus or 4)


def has_answer(family: str, prompt: str) -> bool:
    """Whether a statement of a family has an answer: a chain always, Countdown where the target can be reached."""
    if family != "countdown":
        return True
    numbers, target = parse_countdown(prompt)
    return reachable(tuple(sorted(numbers)), target)


def shape_of(family: str, prompt: str) -> tuple[int, int | None]:
    """What problems of one kind share: the number of operations and the modulus, or how many numbers there are."""
    if family == "countdown":
        return len(parse_countdown(prompt)[0]), None
    chain = parse_chain(prompt)
    return len(chain.operations), chain.modulus


def keeps_the_rules(family: str, prompt: str) -> bool:
    """Whether the generator could have made a statement: see `random_chain` and `_draw_countdown` for the bounds."""
    if family == "countdown":
        numbers, target = parse_countdown(prompt)
        return all(1 <= number <= 9 for number in numbers) and target <= 999
    chain = parse_chain(prompt)
    value = chain.start
    is_within = SMALLEST_VALUE <= value <= LARGEST_VALUE
    for operator, operand in chain.operations:
        is_within &= 2 <= operand <= 9 and (operator != "*" or value <= LARGEST_FACTOR)
        value = apply(value, operator, operand)
        is_within &= SMALLEST_VALUE <= value <= LARGEST_VALUE
    return is_within


def _draw_countdown(level: int, rng: random.Random) -> StarterProblem:
    numbers = tuple(sorted(rng.randint(1, 9) for _ in range(3 if level <= 2 else 4)))
    state = numbers
    while len(state) > 1:
        *_, state = rng.choice(list(moves(state)))
    prompt = f"{','.join(map(str, numbers))} to {state[0]}"
    return _problem("countdown", level, prompt, str(state[0]), prompt)


def _problem(family: str, level: int, prompt: str, answer: str, canonical: str) -> StarterProblem:
    problem_id = f"{family}-{_digest(f'{family}:{prompt}')[:12]}"
    return StarterProblem(
        problem_id,
        family,
        level,
        prompt,
        answer,
        canonical,
        split_of(canonical),
        GRADERS[family],
        is_evaluation=problem_id in _frozen_ids(),
    )


@lru_cache(maxsize=1)
def _frozen_ids() -> dict[str, None]:
    text = (Path(__file__).parent / "evaluation_ids.txt").read_text()
    return dict.fromkeys(line for line in text.splitlines() if line and not line.startswith("#"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
