"""Prompt templates: one folder per style under `prompts/`, one file per purpose, no prompt in Python.

A template is the file's exact text; `{prompt}`, `{steps}`, `{numbered_steps}`, `{agent}`, `{role}` and
`{critique}` are filled in, other braces (such as those of \\boxed{}) stay. Inserted text is never
filled in again, so a problem that contains `{steps}` is harmless. A workspace replaces a template by
a file of the same name (`solve.txt`, `critique.txt`, `refine.txt`, `verify.txt`) in its prompts folder.

Agents' further roles stand in `agents/` of a style, one file per role, and have the fields that the method fills in; a
style has those that its models can play. A workspace replaces or adds them in `agents/` of its prompts folder.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pipelines.errors import ConfigError, WorkspaceError
from pipelines.records import stable_digest

BUILT_IN = Path(__file__).parent / "prompts"
STYLES = ("starter", "plain", "chat")
REQUIRED_FIELDS: dict[str, tuple[str, ...]] = {
    "solve": ("prompt",),
    "critique": ("prompt", "steps|numbered_steps"),
    "refine": ("prompt", "steps|numbered_steps", "critique"),
    "verify": ("prompt",),
}
_FIELD = re.compile(r"\{(prompt|steps|numbered_steps|agent|role|critique|criteria|reference)\}")
_ROLE_FIELD = re.compile(r"\{([a-z_]+)\}")
ROLES = "agents"  # folder of the further roles


class Agent(Protocol):
    """What a critique prompt needs of an agent (`pipelines.config.AgentConfig` has it)."""

    name: str
    role_prompt: str


@dataclass(frozen=True)
class CrucialInformation:
    """What an agent has to know before it criticises (MultiCritique)."""

    task: str
    criteria: tuple[str, ...]
    reference: str | None = None  # the right answer; None = agents are not shown it


class PromptTokenizer(Protocol):
    """What prompts need of `pipelines.inference.tokens.Tokenizer`."""

    def encode(self, text: str) -> list[int]: ...

    def apply_chat(self, messages: list[dict[str, str]]) -> list[int]: ...


@dataclass(frozen=True)
class PromptStyle:
    """The templates of one style and how its steps are told apart."""

    name: str
    solve: str
    critique: str
    refine: str
    verify: str
    is_chat: bool = False  # prompts become one user message in the model's own chat template
    step_separator: str = "\n"
    completion_stop: tuple[str, ...] = ()  # ends a completion beside the model's end token
    has_words: bool = True  # its models read more than digits and operators
    roles: Mapping[str, str] = field(default_factory=dict, hash=False)  # further templates, by role

    @property
    def step_stop(self) -> tuple[str, ...]:
        """Stop strings of a request for one step."""
        return (self.step_separator,)

    @property
    def digest(self) -> str:
        """Changes whenever any template or the style changes."""
        stops = [self.step_separator, *self.completion_stop]
        return stable_digest(self.name, self.solve, self.critique, self.refine, self.verify, self.is_chat, stops)

    def solve_prompt(self, problem: Mapping[str, object], instruction: str = "") -> str:
        """Asks the policy for a solution of a row of `problems`, in a certain way if `instruction` follows it."""
        statement = f"{problem['prompt']}\n{instruction}" if instruction else problem["prompt"]
        return _fill(self.solve, prompt=statement)

    def critique_prompt(
        self,
        agent: Agent,
        problem: Mapping[str, object],
        steps: Sequence[str],
        crucial: CrucialInformation | None = None,
    ) -> str:
        """Asks one agent what is wrong with which step."""
        return _fill(
            self.critique,
            prompt=crucial.task if crucial else problem["prompt"],
            steps=self.step_separator.join(steps),
            numbered_steps=numbered(steps),
            agent=agent.name,
            role=agent.role_prompt,
            criteria=", ".join(crucial.criteria) if crucial else "",
            reference=f"The right answer is {crucial.reference}." if crucial and crucial.reference else "",
        )

    def role(self, name: str, **values: object) -> str:
        """The prompt of an agent's further role; ConfigError where this style has none."""
        template = self.template_of(name)
        return _ROLE_FIELD.sub(lambda match: str(values[match[1]]) if match[1] in values else match[0], template)

    def template_of(self, name: str) -> str:
        """The template of a further role; ConfigError where this style has none."""
        if name not in self.roles:
            raise ConfigError(
                f"The prompt style `{self.name}` has no template {ROLES}/{name}.txt; it has "
                f"{', '.join(sorted(self.roles)) or 'none'}. Choose a method that needs none, another "
                "policy.prompt_style, or put the template into the workspace's prompts folder."
            )
        return self.roles[name]

    def refine_prompt(self, problem: Mapping[str, object], steps: Sequence[str], critique_text: str) -> str:
        """Asks for a corrected solution, given a critique; the critique's last line is ended if it is open."""
        return _fill(
            self.refine,
            prompt=problem["prompt"],
            steps=self.step_separator.join(steps),
            numbered_steps=numbered(steps),
            critique=critique_text if critique_text.endswith("\n") else critique_text + "\n",
        )

    def verify_prompt(self, problem: Mapping[str, object]) -> str:
        """What a process critic reads before the steps, each of which is followed by the separator."""
        return _fill(self.verify, prompt=problem["prompt"])

    def statement_of(self, prompt: str) -> str:
        """The problem's statement in a prompt of `verify_prompt`; any other text as it is."""
        before, _, behind = self.verify.partition("{prompt}")
        return prompt.removeprefix(before).removesuffix(behind) if prompt.startswith(before) else prompt

    def encode(self, text: str, tokenizer: PromptTokenizer) -> tuple[int, ...]:
        """Tokens of a prompt for generation, in the model's chat template where the style is chat."""
        if self.is_chat:
            return tuple(tokenizer.apply_chat([{"role": "user", "content": text}]))
        return tuple(tokenizer.encode(text))


def load_prompts(style: str, own_folder: Path | None = None) -> PromptStyle:
    """The style's templates; files of the same name in `own_folder` (which need not exist) replace them.

    WorkspaceError when an own template cannot be read or lacks a field that it must have.
    """
    templates = {name: _template(style, name, own_folder) for name in REQUIRED_FIELDS}
    completion_stop = ("\n\nProblem:",) if style == "plain" else ()
    folders = [BUILT_IN / style / ROLES, *([own_folder / ROLES] if own_folder else [])]
    roles = {file.stem: _text(file) for folder in folders for file in sorted(folder.glob("*.txt"))}
    return PromptStyle(
        name=style, is_chat=style == "chat", completion_stop=completion_stop, has_words=style != "starter", roles=roles,
        **templates,
    )  # fmt: skip


def _template(style: str, name: str, own_folder: Path | None) -> str:
    own = own_folder / f"{name}.txt" if own_folder else None
    if own is None or not own.exists():
        return (BUILT_IN / style / f"{name}.txt").read_text(encoding="utf-8")
    text = _text(own)
    present = set(_FIELD.findall(text))
    for wanted_field in REQUIRED_FIELDS[name]:
        if not present & set(wanted_field.split("|")):
            wanted = " or ".join("{" + choice + "}" for choice in wanted_field.split("|"))
            raise WorkspaceError(f"The prompt template {own} does not contain {wanted}, so the model would not see it.")
    return text


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WorkspaceError(
            f"The prompt template {file} cannot be read: {error}. It must be a UTF-8 text file."
        ) from error


def _fill(template: str, **values: object) -> str:
    return _FIELD.sub(lambda match: str(values.get(match[1], "")), template)


def numbered(steps: Sequence[str]) -> str:
    """A line per step: its index from 0, and its text."""
    return "\n".join(f"{index} {step}" for index, step in enumerate(steps))
