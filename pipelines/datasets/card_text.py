"""What a person wants to know of a version, as Markdown: what it is, how it was made, how to load it, its limits.

Everything in it is read from the manifest, so the card can be written again from that alone. What data or other people
named (models, methods, reasons, files) is escaped.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from pipelines.datasets.commit import commit_of
from pipelines.datasets.figures import OVERVIEW
from pipelines.datasets.token_counts import OWN_IDS

Manifest = Mapping[str, object]
SPLIT = "train"
MEANINGS = {
    "sft": "a right solution to imitate",
    "preference": "two continuations of one prompt, the better one first",
    "stepwise": "a path of a search tree with a label per step; it ends at its first wrong step",
    "prompts": "a prompt alone, with its reference answer",
    "rl_groups": "a rollout in its group, with tokens, behaviour log-probabilities and advantage",
}
COLUMNS = {
    "prompt": "what the policy saw, role or template included",
    "completion": "the solution, every step ended by its separator",
    "chosen": "the better continuation",
    "rejected": "the worse continuation",
    "completions": "the steps of the path, in order",
    "labels": "right or wrong per step",
    "soft_labels": "Monte Carlo value per step, 0 to 1",
    "visit_counts": "visits behind each value",
    "margin": "the gap that made the pair: chosen_score − rejected_score, or what a method of weighing put there",
    "chosen_score": "what the method compared; null = not known",
    "rejected_score": "the same for the other side",
    "soft_label": "probability that chosen is better, 0.5 to 1; null = taken for certain",
    "weight": "factor of the pair's loss",
    "method": "the catalogue's name of what made the pair",
    "origin": "consistent_rollouts (kept by the filter), search (tree paths) or refinements (after a critique); of a "
    "row that trains a critic, what made it",
    "reference_answer": "what the answer is graded against",
    "family": "kind of problem",
    "difficulty": "1 (easy) upwards; null = the source does not say",
    "group_id": "samples of one problem share it",
    "prompt_token_ids": "the policy's tokens",
    "completion_token_ids": "the policy's tokens",
    "behaviour_logprobs": "log-probability of each completion token when it was sampled",
    "policy_version": "digest of the weights that sampled it",
    "reward": "1 right, 0 wrong, by the graded answer",
    "advantage": "group advantage over the kept rollouts",
    "loss_weight": "factor of the row's loss; 0 where all kept rewards of a group are equal",
    "problem_id": "stable id of the problem: split and join by it",
    "rollout_id": "the rollout: `reasonmill datasets lineage` traces it",
    "pair_id": "the pair: `reasonmill datasets lineage` traces it",
    "night": "the night that made it",
}
LOADING = {
    "sft": """from trl import SFTConfig, SFTTrainer

rows = load_dataset(path, "sft", split="train").select_columns(["prompt", "completion"])
SFTTrainer(model="your/model", train_dataset=rows, args=SFTConfig(output_dir="sft")).train()""",
    "stepwise": """rows = load_dataset(path, "stepwise", split="train")
row = rows.select_columns(["prompt", "completions", "labels"])[0]  # TRL's names; trl 1.16 trains on no steps
# a process reward model reads prompt and steps, and says after each step whether it is right:
#   loss = cross_entropy(logits at the last token of each step, labels)
print(row["prompt"], list(zip(row["completions"], row["labels"])))""",
    "preference": """from trl import DPOConfig, DPOTrainer

rows = load_dataset(path, "preference", split="train").select_columns(["prompt", "chosen", "rejected"])
DPOTrainer(model="your/model", train_dataset=rows, args=DPOConfig(output_dir="dpo")).train()""",
    "prompts": """from trl import GRPOConfig, GRPOTrainer

def is_right(completions, reference_answer, **_):  # `####` stands before the answer in the starter's problems
    return [float(text.split("####")[-1].strip() == answer) for text, answer in zip(completions, reference_answer)]

rows = load_dataset(path, "prompts", split="train")
args = GRPOConfig(output_dir="grpo")
GRPOTrainer(model="your/model", reward_funcs=is_right, train_dataset=rows, args=args).train()""",
    "rl_groups": """rows = load_dataset(path, "rl_groups", split="train").with_format("torch")
row = rows[0]
# with the log-probabilities of your policy for the completion's tokens:
#   ratio = exp(logprobs - row["behaviour_logprobs"]); loss = -(row["loss_weight"] * row["advantage"] * ratio).mean()
print(row["completion_token_ids"], row["behaviour_logprobs"], row["advantage"], row["loss_weight"])""",
}
TITLES = {
    "sft": "TRL, supervised (SFT)", "preference": "TRL, preferences (DPO)", "prompts": "TRL, online (GRPO)",
    "rl_groups": "plain PyTorch, offline groups", "stepwise": "steps with labels (process reward models)",
}  # fmt: skip
EXPORTED = {
    "trl_unpaired": """from datasets import load_dataset
from trl import KTOConfig, KTOTrainer

rows = load_dataset("parquet", data_files="trl_unpaired.parquet", split="train")
rows = rows.select_columns(["prompt", "completion", "label"])
KTOTrainer(model="your/model", train_dataset=rows, args=KTOConfig(output_dir="kto")).train()""",
}
EXPORTS = (("preference", "TRL, unpaired (KTO)", "trl_unpaired"),
           ("prompts", "verl", "verl_rl"), ("sft", "OpenRLHF, supervised", "openrlhf_sft"),
           ("preference", "OpenRLHF, preferences", "openrlhf_preference"))  # fmt: skip


def card_text(manifest: Manifest) -> str:
    """The card below its YAML; it travels with the folder, so it says nowhere where that lies."""
    parts = [
        *_head(manifest),
        *_sets(manifest),
        *_loading(manifest),
        *_making(manifest),
        *_filters(manifest),
        *_contamination(manifest),
        *_columns(manifest),
        *_limits(manifest),
        *_provenance(manifest),
    ]
    return "\n".join(parts) + "\n"


def _head(manifest: Manifest) -> Iterator[str]:
    yield f"# {manifest['version']}"
    yield ""
    yield (
        f"{manifest['num_rows']:,} rows of reasoning data, made by Reasonmill in the night {manifest['night']}:"
        " solutions, preference pairs, labelled steps and groups of rollouts over problems whose answers can be"
        " checked. This is an immutable version; it is never rewritten, and `reasonmill datasets lineage` traces every"
        " row to the request that made it."
    )
    yield ""
    if any(file["path"] == OVERVIEW for file in manifest.get("files", [])):
        yield f"![Length, depth, difficulty, pass rate, label sources and on-policy share of the rows]({OVERVIEW})"
        yield ""


def _sets(manifest: Manifest) -> Iterator[str]:
    yield from ["## Sets", ""]
    rows = [
        [f"`{name}`", f"{entry['num_rows']:,}", _tokens(entry), MEANINGS.get(name, "")]
        for name, entry in manifest["sets"].items()
    ]
    yield from _table(["set", "rows", "tokens (prompt + completion)", "what a row is"], rows)
    counted = {str(tokens["tokenizer"]) for entry in manifest["sets"].values() if (tokens := entry.get("tokens"))}
    if named := sorted(counted - {OWN_IDS}):
        yield f"Tokens of texts are those of the tokenizer of `{escape(', '.join(named))}`; both sides of a pair count."
        yield ""


def _tokens(entry: Mapping[str, object]) -> str:
    tokens = entry.get("tokens")
    if not tokens:
        return f"not counted: {escape(str(entry.get('tokens_reason') or 'nobody knows why'))}"
    return f"{tokens['num_prompt_tokens']:,} + {tokens['num_completion_tokens']:,}"


def _loading(manifest: Manifest) -> Iterator[str]:
    sets = manifest["sets"]
    first = next(iter(sets))
    yield from ["## Load", "", "```python", "from datasets import load_dataset", ""]
    yield f"path = {json.dumps(str(manifest['version']))}  # where this folder lies; keep its name"
    yield f'{first} = load_dataset(path, "{first}", split="{SPLIT}")'
    yield from ["```", ""]
    for name, title in TITLES.items():
        if name in sets:
            yield from [f"**{title}**", "", "```python", LOADING[name], "```", ""]
    for name, title, export in EXPORTS:
        if name in sets:
            yield from [f"**{title}**", "", "```bash"]
            spec = f"{manifest['name']}@{manifest['version']}"
            yield f"reasonmill datasets export {spec} --format {export} --to {export}.parquet"
            yield from ["```", ""]
            if export in EXPORTED:
                yield from ["```python", EXPORTED[export], "```", ""]
    yield from ["**Without any trainer**: the files are plain Parquet.", "", "```python", "import pyarrow.dataset", ""]
    yield f'rows = pyarrow.dataset.dataset(f"{{path}}/{first}", format="parquet").to_table()'
    yield from ["```", ""]


def _making(manifest: Manifest) -> Iterator[str]:
    config = manifest["configuration"]
    rollouts, critiques = config["rollouts"], config["critiques"]
    sources = [
        " ".join(str(part) for part in (one.get("count", ""), one.get("family") or one["kind"]) if part)
        for one in config["problems"]["sources"]
    ]
    yield from ["## How it was made", ""]
    yield (
        f"1. **Problems**: {escape(', '.join(sources))}; {config['problems']['held_out_fraction']:.0%} are held out and"
        " never used here."
    )
    yield (
        f"2. **Search**: {escape(str(rollouts['recipe']))} over up to {rollouts['num_search_problems']:,} problems,"
        f" {rollouts['num_simulations']} simulations each, at temperature {rollouts['temperature']:g};"
        f" **samples**: {rollouts['group_size']} independent ones each of up to"
        f" {rollouts['num_sample_problems']:,} problems."
    )
    yield (
        f"3. **Critiques** of up to {critiques['num_rollouts']:,} rollouts by {len(critiques['agents'])} roles"
        f"{', refined where they found an error' if critiques['refine'] else ''}."
    )
    scorers = ", ".join(f"{row['source']} `{_plain(row['scorer_version'])}`" for row in manifest["critic"]["scorers"])
    yield f"4. **Step scores** by {scorers or 'nobody'}, **filters** as below, then the sets."
    for stage, cost in manifest["generated"].items():
        yield (
            f"    - {escape(stage)}: {cost['num_requests']:,} requests, {cost['prompt_tokens']:,} prompt tokens,"
            f" {cost['completion_tokens']:,} generated tokens"
        )
    yield ""


def _filters(manifest: Manifest) -> Iterator[str]:
    if not manifest["filters"]:
        return
    yield from ["## Filters and what they removed", ""]
    rows = []
    for method, found in sorted(manifest["filters"].items()):
        removed = found["removed"]
        num = found["kept"] + sum(removed.values())
        reasons = ", ".join(f"{_plain(reason)} {count:,}" for reason, count in removed.items()) or "nothing"
        rows.append([f"`{_plain(method)}`", f"{num:,}", f"{found['kept']:,}", f"{found['kept'] / num:.1%}", reasons])
    yield from _table(["filter", "rollouts", "kept", "of all", "removed, by reason"], rows)
    yield (
        "Of all: kept / all rollouts, with those that the filter had no say on; `yield_<filter>` on the night's page is"
        " kept / judged. Filters that only look are here too; `rl_groups` and `sft` use the configured one."
    )
    yield ""


def _contamination(manifest: Manifest) -> Iterator[str]:
    found = manifest["contamination"]
    yield from ["## Contamination", ""]
    held_out = sum(row["num_held_out"] for row in found["by_problem"].values())
    evaluation = sum(row["num_evaluation"] for row in found["by_problem"].values())
    yield (
        f"Rows of held-out problems: **{held_out:,}**; of frozen evaluation problems: **{evaluation:,}** (by problem,"
        f" every row).{_unknown(found['by_problem'])} Rows whose problem's statement shares {found['n']} words in a row"
        f" with a test item (or all of a shorter one of at least {found['min_words']} words), or equals one:"
    )
    yield ""
    rows = []
    for test in found["by_words"]:
        names = ", ".join(
            f"{_plain(item['name'])} ({item['num_items']:,} items, {item['num_too_short']:,} too short)"
            for item in test["items"]
        )
        for name, one in test["sets"].items():
            hits = f"**{one['num_contaminated']:,}**"
            rows.append([names, f"`{name}`", f"{one['num_rows']:,}", f"{one['num_tested']:,}", hits])
    yield from _table(["tested against", "set", "rows", "tested", "found"], rows)
    yield (
        "What is not tested is too short for the test and equals no test item; that does not make it clean. Words are"
        " runs of letters and digits: long enough problems that differ in signs alone (`7+2` and `7-2`) count as found."
    )
    yield ""


def _unknown(by_problem: Mapping[str, Mapping[str, int]]) -> str:
    """A sentence on rows of which nobody knows whether their problem is held out; versions of earlier do not say."""
    num_unknown = sum(row.get("num_unknown", 0) for row in by_problem.values())
    if not num_unknown:
        return ""
    return (
        f" The problems of **{num_unknown:,}** rows are not in the table of problems: whether those are held out is not"
        " known, and what their own prompts say was tested."
    )


def _columns(manifest: Manifest) -> Iterator[str]:
    yield from ["## Columns", ""]
    for name, entry in manifest["sets"].items():
        rows = [[f"`{column}`", f"`{kind}`", COLUMNS.get(column, "")] for column, kind in entry["columns"].items()]
        yield from [f"### {name}", ""]
        yield from _table(["column", "type", "meaning"], rows)


def _limits(manifest: Manifest) -> Iterator[str]:
    yield from ["## Limits", ""]
    yield (
        "- Written by a language model and graded by its final answer: a right answer may stand on a wrong step."
        " Filters and critics lower the share of such rows; they do not end it."
    )
    yield "- Step labels and values are estimates from a limited number of completions, not proofs."
    yield "- Behaviour log-probabilities and advantages are of the policy named below; for any other, off-policy."
    yield "- Problems, lengths and styles are those of the sources above, and so is what a model learns from them."
    yield ""


def _provenance(manifest: Manifest) -> Iterator[str]:
    yield from ["## Provenance", ""]
    yield (
        "`manifest.json` has checksums of every file, the whole configuration, all seeds and the generations of the"
        " tables it was made from; `reasonmill datasets rebuild` makes the same files again from it and the response"
        " store."
    )
    yield ""
    stack = ", ".join(f"{name} {version}" for name, version in manifest["stack"].items())
    models = [[role, f"`{_plain(digest)}`"] for role, digest in sorted(manifest["models"].items())]
    policy = _plain(manifest["configuration"]["policy"]["model"])
    rows = [["content", f"`{manifest['content_sha256']}`"], ["code", f"`{manifest['code_digest']}`"],
            ["commit", str(commit_of(manifest) or "not recorded")],
            ["engine", _plain(manifest["engine"] or "not recorded")], ["policy's name", policy], *models,
            ["critics of the night", manifest["critic"]["critics_of"] or "none"], ["made with", stack]]  # fmt: skip
    yield from _table(["what", "which"], rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [*("| " + " | ".join(line) + " |" for line in lines), ""]


def _plain(text: object) -> str:
    """Text that others wrote, on one line and without a meaning for Markdown or HTML."""
    line = " ".join(str(text).split())
    return escape(line.replace("`", "'").replace("|", "/").replace("[", "(").replace("]", ")"))
