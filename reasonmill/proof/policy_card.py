"""The card of a trained policy: which data set, from which weights, how it was trained."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.datasets.versions import PublishedVersion
from pipelines.starter.fine_tune import FineTuning


@dataclass(frozen=True)
class Origin:
    """What a policy comes from."""

    name: str  # of the policy
    base_name: str
    base_digest: str  # of the weights that training began with
    version: PublishedVersion
    num_rows: int  # of `sft`


def policy_card(origin: Origin, config: FineTuning) -> str:
    """README.md of the policy folder; its front matter is read by hubs, and by `data_version_of`."""
    manifest = origin.version.manifest
    settings = "\n".join(f"| {name} | {value} |" for name, value in asdict(config).items())
    return f"""---
library_name: transformers
pipeline_tag: text-generation
base_model: {json.dumps(origin.base_name)}
datasets:
- {json.dumps(str(manifest["name"]))}
dataset_version: {json.dumps(origin.version.version)}
dataset_content_sha256: {json.dumps(str(manifest["content_sha256"]))}
base_model_digest: {json.dumps(origin.base_digest)}
tags:
- reasonmill
---

# {origin.name}

{origin.base_name} trained further on the {origin.num_rows:,} rows of the set `sft` of the data set version
`{origin.version.version}` (content `{manifest["content_sha256"]}`), published for `{manifest["night"]}`.
Training began with weights whose digest is `{origin.base_digest}`.

| training | value |
|---|---|
{settings}

`fine_tuning.json` beside this file holds the same and what training reported.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

policy = AutoModelForCausalLM.from_pretrained("this folder")
tokenizer = AutoTokenizer.from_pretrained("this folder")
```
"""


def data_version_of(policy: Path) -> str | None:
    """The data set version that a policy's card names; None where it names none."""
    card = policy / "README.md"
    if not card.is_file():
        return None
    for line in card.read_text(encoding="utf-8").split("\n---", 1)[0].splitlines():
        if line.startswith("dataset_version: "):
            return json.loads(line.removeprefix("dataset_version: "))
    return None
