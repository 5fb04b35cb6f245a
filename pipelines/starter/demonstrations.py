"""Training texts of the starter, with a target for every token position.

The three roles and what makes them differ:
    solve     demonstrations hold a misconception: where `families.slip` applies, the slip is shown `SLIP_SHARE` of
              the time. The model becomes confidently wrong there, and the truth stays within reach of sampling.
    critique  (and its in-place form, `verify`) has been taught the truth, imperfectly, also in those situations:
              each agent overlooks the errors of an operation or of large numbers; `verify` has been taught nothing
              of those with `BLIND_OPERAND`, so that a critic has something to learn from the trees.
              The role is marked *before* the problem, so each step is judged in place: at the newline that ends a
              step the target is not the next line but `<right>` or `<wrong>`; inside a step the targets are the
              tokens of what should stand there, for as long as the step agrees with it.
    refine    a corrected solution that follows a critique.

`targets[i]` is the token to predict after reading `token_ids[i]`, IGNORE where nothing is learned.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.starter import families
from pipelines.starter.tokenizer import EOS, RIGHT, WRONG, encode

IGNORE = -100
SLIP_SHARE = 0.65  # of the demonstrations in a slip situation show the slip
REFINE_SLIP_SHARE = 0.25
VERIFY_ACCURACY = 0.92  # share of in-place verdicts of the verify role that are true
BLIND_OPERAND = 6  # in slip situations with this operand the verify role's verdict is a coin's: left for trees to teach
FALSE_ALARMS = 0.05  # share of right steps that an agent calls wrong
LARGE = 50  # "large": a step whose first number is at least this
OVERLOOKED = {  # share of wrong steps that an agent calls right, by what it looks at: three differently skilled agents
    "critique_a": {"+": 0.10, "-": 0.35, "*": 0.90, "large": 0.10, "answer": 0.20, "move": 0.25},
    "critique_b": {"+": 0.70, "-": 0.10, "*": 0.10, "large": 0.10, "answer": 0.20, "move": 0.25},
    "critique_c": {"+": 0.10, "-": 0.10, "*": 0.10, "large": 0.65, "answer": 0.20, "move": 0.25},
}


@dataclass(frozen=True)
class Example:
    """One training sequence; three lists of equal length."""

    token_ids: list[int]
    targets: list[int]
    weights: list[float]


@dataclass(frozen=True)
class Candidate:
    """A solution to be judged: its lines, their gold labels, what each line should have been (None: nothing can)."""

    family: str
    prompt: str
    steps: list[str]
    is_right: list[bool]
    expected: list[str | None]


# -- solutions -----------------------------------------------------------------------------------------------------


def demonstrate(
    family: str, prompt: str, rng: random.Random, slip_share: float = SLIP_SHARE, prefix: Sequence[str] = ()
) -> list[str]:
    """A solution as the solve role is shown it, continuing the lines in `prefix`."""
    if family == "countdown":
        return _demonstrate_countdown(prompt, rng, slip_share, prefix)
    chain = families.parse_chain(prompt)
    steps, value = list(prefix), chain.start
    for step in prefix:
        value = int(step.split("=")[1])
    for operator, operand in chain.operations[len(prefix) :]:
        slipped = families.slip(value, operator, operand)
        result = families.apply(value, operator, operand)
        if slipped is not None and rng.random() < slip_share:
            result = slipped
        steps.append(f"{value}{operator}{operand}={result}")
        value = result
    return [*steps, f"#### {families.chain_answer(chain, value)}"]


def _demonstrate_countdown(prompt: str, rng: random.Random, slip_share: float, prefix: Sequence[str]) -> list[str]:
    numbers, target = families.parse_countdown(prompt)
    steps, state = list(prefix), tuple(sorted(numbers))
    for step in prefix:
        state = tuple(sorted(int(n) for n in step.split(" left ")[1].split(",")))
    misled = sum(numbers) % 2 == 0 and rng.random() < slip_share
    while len(state) > 1:
        options = list(families.moves(state))
        if misled:
            options = options[:1]  # adds the two largest, whatever the target
            misled = False
        else:
            options = [move for move in options if families.reachable(move[-1], target)] or options
        a, operator, b, result, state = rng.choice(options)
        steps.append(families.render_move(a, operator, b, result, state))
    return [*steps, f"#### {state[0]}"]


def perturb(step: str, rng: random.Random) -> str:
    """One plausible mistake in a line: a digit, the operand, the operator, or the result off by a little."""
    if "=" not in step or rng.random() < 0.3:
        positions = [i for i, c in enumerate(step) if c.isdigit()]
        if not positions:
            return step + "0"
        at = rng.choice(positions)
        return step[:at] + rng.choice([d for d in "0123456789" if d != step[at]]) + step[at + 1 :]
    left, _, right = step.partition("=")
    result, _, rest = right.partition(" left ")
    value = int(result)
    kind = rng.random()
    if kind < 0.75:
        wrong = max(0, value + rng.choice((1, -1, 10, -10, 10, -10, 20, -20, 100, -100, rng.randint(-9, 9) or 2)))
        if rest:
            rest = ",".join(str(wrong) if n == result else n for n in rest.split(","))
        return f"{left}={wrong}" + (f" left {rest}" if rest else "")
    operator = next(c for c in left[1:] if c in "+-*")
    a, _, b = left.rpartition(operator)
    if kind < 0.9:
        operator = rng.choice([o for o in "+-*" if o != operator])
    else:
        b = str(max(1, int(b) + rng.choice((-10, 10, -1, 1, 3))))
    if not a.lstrip("-").isdigit():
        return f"{left}={value + 1}"
    return f"{a}{operator}{b}={families.apply(int(a), operator, int(b))}" + (f" left {rest}" if rest else "")


def corrupted(family: str, prompt: str, rng: random.Random, error_rate: float = 0.16) -> list[str]:
    """A solution with slips and random mistakes; later lines follow from the mistaken ones."""
    steps = demonstrate(family, prompt, rng)
    if family == "countdown":
        return [perturb(step, rng) if rng.random() < error_rate else step for step in steps]
    chain = families.parse_chain(prompt)
    kept: list[str] = []
    for index in range(len(steps)):
        step = demonstrate(family, prompt, rng, prefix=kept)[index]
        if rng.random() < error_rate:
            step = perturb(step, rng)
        kept.append(step)
        if index < len(chain.operations) and not step.rpartition("=")[2].lstrip("-").isdigit():
            break
    return kept


def judge(family: str, prompt: str, steps: Sequence[str]) -> Candidate:
    """Gold labels of `steps` and what each should have been."""
    is_right = families.gold_steps(family, prompt, steps)
    if family == "countdown":
        expected: list[str | None] = [step if right else None for step, right in zip(steps, is_right, strict=True)]
        first_wrong = is_right.index(False) if False in is_right else None
        if first_wrong is not None:
            numbers, target = families.parse_countdown(prompt)
            state = tuple(sorted(numbers))
            for step in steps[:first_wrong]:
                if " left " in step:
                    state = tuple(sorted(int(n) for n in step.split(" left ")[1].split(",")))
            good = [move for move in families.moves(state) if families.reachable(move[-1], target)]
            if good:
                expected[first_wrong] = families.render_move(*good[0])
            elif len(state) == 1:
                expected[first_wrong] = f"#### {state[0]}"
    else:
        expected = families.expected_chain_steps(families.parse_chain(prompt), steps)
    return Candidate(family, prompt, list(steps), is_right, expected)


# -- verdicts ------------------------------------------------------------------------------------------------------


def operation_of(family: str, step: str) -> str:
    if step.startswith("#"):
        return "answer"
    if family == "countdown":
        return "move"
    return next((c for c in step[1:] if c in "+-*"), "answer")


def is_blind(role: str, family: str, step: str) -> bool:
    """Is this a slip situation in which `role` has not been taught what is right?"""
    if role != "verify" or family == "countdown":
        return False
    read = families.read_chain_step(step)
    return read is not None and read[2] == BLIND_OPERAND and families.slip(*read[:3]) is not None


def accuracy(role: str, family: str, step: str, is_right: bool) -> float:
    """Share of true verdicts that `role` is taught for this step."""
    if role == "verify":
        return 0.5 if is_blind(role, family, step) else VERIFY_ACCURACY
    if is_right:
        return 1.0 - FALSE_ALARMS
    overlooked = OVERLOOKED[role]
    read = families.read_chain_step(step)
    is_large = read is not None and read[0] >= LARGE
    return 1.0 - max(overlooked[operation_of(family, step)], overlooked["large"] if is_large else 0.0)


def noisy_verdicts(role: str, candidate: Candidate, rng: random.Random) -> list[bool]:
    return [
        right if rng.random() < accuracy(role, candidate.family, step, right) else not right
        for step, right in zip(candidate.steps, candidate.is_right, strict=True)
    ]


def critique_lines(candidate: Candidate, verdicts: Sequence[bool]) -> list[str]:
    """`0 right`, `1 wrong 19-5=14`, ..., `verdict 1` (-1: no error)."""
    lines = []
    for index, (right, expected) in enumerate(zip(verdicts, candidate.expected, strict=True)):
        said = "" if right or expected is None or expected == candidate.steps[index] else f" {expected}"
        lines.append(f"{index} right" if right else f"{index} wrong{said}")
    return [*lines, f"verdict {list(verdicts).index(False) if False in verdicts else -1}"]


# -- sequences with targets ----------------------------------------------------------------------------------------


class _Builder:
    """Grows one Example; `say` learns to write a text, `read` only reads it."""

    def __init__(self) -> None:
        self.token_ids: list[int] = []
        self.targets: list[int] = []
        self.weights: list[float] = []

    def read(self, text: str) -> None:
        ids = encode(text)
        self.token_ids += ids
        self.targets += [IGNORE] * len(ids)
        self.weights += [0.0] * len(ids)

    def say(self, text: str, end: bool = False) -> None:
        ids = encode(text) + ([EOS] if end else [])
        self.targets[-1:] = [ids[0]]
        self.weights[-1:] = [1.0]
        self.token_ids += ids
        self.targets += [*ids[1:], IGNORE]
        self.weights += [*[1.0] * (len(ids) - 1), 0.0]

    def judged_step(self, step: str, expected: str | None, verdict: bool) -> None:
        """Read `step` and its newline, learning what should stand there while it agrees, then the verdict."""
        ids = encode(step + "\n")
        wanted = encode(expected + "\n") if expected is not None else []
        for position, token in enumerate(ids):
            if position < len(wanted) and ids[:position] == wanted[:position] and self.targets[-1] == IGNORE:
                self.targets[-1], self.weights[-1] = wanted[position], 0.5
            self.token_ids.append(token)
            self.targets.append(IGNORE)
            self.weights.append(0.0)
        self.targets[-1], self.weights[-1] = (RIGHT if verdict else WRONG), 2.0

    def done(self) -> Example:
        return Example(self.token_ids, self.targets, self.weights)


def solve_example(family: str, prompt: str, rng: random.Random) -> Example:
    builder = _Builder()
    builder.read(f"<solve>{prompt}\n")
    builder.say("\n".join(demonstrate(family, prompt, rng)) + "\n", end=True)
    return builder.done()


def verify_example(candidate: Candidate, rng: random.Random) -> Example:
    return _judged("verify", candidate, noisy_verdicts("verify", candidate, rng)).done()


def critique_example(agent: str, candidate: Candidate, rng: random.Random) -> Example:
    verdicts = noisy_verdicts(agent, candidate, rng)
    builder = _judged(agent, candidate, verdicts)
    builder.read("<review>\n")
    builder.say("\n".join(critique_lines(candidate, verdicts)) + "\n", end=True)
    return builder.done()


def refine_example(candidate: Candidate, rng: random.Random) -> Example:
    """Follow the critique: keep the lines before the first one called wrong, put its correction, go on from there."""
    verdicts = noisy_verdicts("verify", candidate, rng)
    builder = _Builder()
    builder.read(f"<refine>{candidate.prompt}\n" + "".join(step + "\n" for step in candidate.steps) + "<review>\n")
    builder.read("\n".join(critique_lines(candidate, verdicts)) + "\n<revise>\n")
    builder.say("\n".join(_refined(candidate, verdicts, rng)) + "\n", end=True)
    return builder.done()


def _refined(candidate: Candidate, verdicts: Sequence[bool], rng: random.Random) -> list[str]:
    if False not in verdicts:
        return candidate.steps
    first = list(verdicts).index(False)
    # A line kept because the critique missed its error may be unreadable; restart where the lines can be followed.
    readable = 0
    while readable < first and candidate.is_right[readable]:
        readable += 1
    kept = candidate.steps[:readable]
    correction = candidate.expected[first] if readable == first else None
    if correction is not None:
        kept = [*kept, correction]
    if kept and kept[-1].startswith("#"):
        return kept
    return demonstrate(candidate.family, candidate.prompt, rng, REFINE_SLIP_SHARE, prefix=kept)


def _judged(role: str, candidate: Candidate, verdicts: Sequence[bool]) -> _Builder:
    builder = _Builder()
    builder.read(f"<{role}>{candidate.prompt}\n")
    for step, expected, verdict in zip(candidate.steps, candidate.expected, verdicts, strict=True):
        builder.judged_step(step, None if is_blind(role, candidate.family, step) else expected, verdict)
    return builder
