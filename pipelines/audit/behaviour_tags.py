"""Four cognitive behaviours in reasoning texts, counted by lexical rules.

Verification, backtracking, subgoals and backward chaining are the behaviours of "Cognitive Behaviors that Enable
Self-Improving Reasoners" (arXiv 2503.01307, from memory), where a language model finds them. The rules here are our own
lists of English phrases: cheap, the same for every row, blind to what is said otherwise, and no measure of whether the
behaviour was any use. A phrase counts once per place, and places of one behaviour do not overlap.
"""

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import Section
from pipelines.curation import Column, Curation

LET = "let(?:'s| us| me)"
PHRASES = {
    "verification": (
        f"{LET} (?:double[- ]?check|verify|check|confirm)",
        "double[- ]?check(?:ing)?",
        "to (?:verify|confirm)",
        "verify(?:ing)? (?:that|this|the|our|my)",
        "check(?:ing)? (?:this|our|the|my) (?:answer|result|work|solution|calculation)",
        "plug(?:ging)? (?:it|this|them|back|these|the values?)",
        "substitut(?:e|ing) back",
        "sanity check",
        "is (?:this|that) (?:correct|right)",
        "does (?:this|that|it) (?:make sense|work|hold)",
    ),
    "backtracking": (
        "wait",
        "hold on",
        "hmm",
        "on second thought",
        f"{LET} (?:try (?:again|another|a different|something else)|go back|start over|reconsider|backtrack)",
        "(?:that|this) (?:is|was) (?:wrong|incorrect|not right|not correct)",
        "(?:that|this) (?:does not|doesn't|did not|didn't) work",
        "i made (?:a mistake|an error)",
        "(?:a different|another) approach",
        "dead end",
        "go(?:ing)? back to",
    ),
    "subgoals": (
        "(?:first|second|third|next|finally)(?:ly)?,",
        "step [0-9]+",
        f"{LET} (?:first|start by|begin by|begin with|break (?:it|this|the problem))",
        "break(?:ing)? (?:it|this|the problem) (?:down|into)",
        "we (?:first|now|then) need to",
        "(?:the|our) (?:next|first|second|final) (?:step|goal|task) is",
        "sub-?(?:goal|problem|task)s?",
    ),
    "backward_chaining": (
        "(?:work|reason)(?:ing)? backwards?",
        "start(?:ing)? (?:from|with) the (?:answer|goal|target|result|end|desired)",
        "to (?:get|reach|obtain) (?:the )?(?:target|goal|answer|[0-9]+),? (?:we|i|you) (?:would )?(?:need|must)",
        "in reverse",
        "what (?:would|do) (?:we|i) need to (?:get|reach|obtain)",
    ),
}
"""behaviour -> patterns (RE2, upper and lower case alike), each of which begins and ends with a whole word."""
RULES = {name: rf"\b(?:{'|'.join(patterns)})(?:\b|$|\s)" for name, patterns in PHRASES.items()}

WRITES = pa.schema([*((f"num_{name}", pa.int64()) for name in RULES), ("behaviours", pa.list_(pa.string()))])


class TagParams(Section):
    """`behaviour_tags` has no parameters."""


def run(table: pa.Table, params: TagParams) -> pa.Table:
    """Counts of every behaviour, and the names of those that occur, by position; null where there is no text."""
    texts = pc.replace_substring(table["text"].cast(pa.large_string()), "’", "'")
    counts = {name: pc.count_substring_regex(texts, pattern, ignore_case=True) for name, pattern in RULES.items()}
    rows = zip(*(column.to_pylist() for column in counts.values()), strict=True)
    named = [
        None if None in row else [name for name, count in zip(RULES, row, strict=True) if count] for row in rows
    ]  # fmt: skip
    columns = [
        table["position"],
        *(column.cast(pa.int64()) for column in counts.values()),
        pa.array(named, WRITES.types[-1]),
    ]
    return pa.table(columns, names=["position", *WRITES.names])


CURATION = Curation(
    params=TagParams,
    reads=(Column("text", pa.string(), "a rollout's reasoning in English; null: no counts"),),
    writes=WRITES,
    grain="rows",
    run=run,
)
