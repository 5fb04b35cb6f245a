"""The card of a policy that was trained on a published version: which version, exactly, and what came of it.

Only the standard library is imported, since the card is written where the training runs.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from pipelines.datasets.published import CARD, manifest_digest, read_version


def write_policy_card(
    policy: Path, dataset: Path, sets: tuple[str, ...], base_model: str, method: str, numbers: Mapping[str, float]
) -> Path:
    """Writes README.md into the folder of a trained policy, over one that a trainer left there.

    Its YAML has `datasets` (the name), the version, the digest of the version's content and that of its manifest;
    strings are written as JSON, which is YAML. `numbers` (steps, losses, seconds) are listed for people.
    """
    version = read_version(dataset)
    front = {
        "base_model": base_model,
        "datasets": [str(version.manifest["name"])],
        "dataset_version": version.version,
        "dataset_content_sha256": str(version.manifest["content_sha256"]),
        "dataset_manifest_sha256": manifest_digest(version.manifest),
        "dataset_sets": list(sets),
        "library_name": "transformers",
        "tags": ["reasonmill"],
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items()]
    text = [
        "---", *lines, "---", "",
        f"# {policy.name}", "",
        f"{base_model}, trained by {method} on the sets {', '.join(sets)} of `{version.version}`.", "",
        f"The same data: `reasonmill datasets pull {version.manifest['name']}@{version.version} --to DIR`.", "",
        *[f"- {name}: {number:g}" for name, number in numbers.items()], "",
    ]  # fmt: skip
    card = policy / CARD
    card.write_text("\n".join(text), encoding="utf-8")
    return card
