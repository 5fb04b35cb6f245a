"""A trained policy says which data it was made of."""

import hashlib

import yaml
from published_worlds import make_version

from pipelines.datasets.policy_card import write_policy_card
from pipelines.datasets.published import manifest_digest, read_version
from reasonmill import client


def test_the_card_names_the_version_its_content_and_the_bytes_of_its_manifest(tmp_path):
    version = make_version(tmp_path)
    policy = tmp_path / "policy"
    policy.mkdir()
    (policy / "README.md").write_text("what a trainer wrote")
    card = write_policy_card(policy, version.path, ("sft",), 'a "base" model', "SFT", {"steps": 60, "last_loss": 0.03})
    front, text = card.read_text().split("---\n")[1:]
    assert yaml.safe_load(front) == {
        "base_model": 'a "base" model',
        "datasets": ["tiny"],
        "dataset_version": version.version,
        "dataset_content_sha256": version.manifest["content_sha256"],
        "dataset_manifest_sha256": manifest_digest(version.manifest),
        "dataset_sets": ["sft"],
        "library_name": "transformers",
        "tags": ["reasonmill"],
    }
    assert f"reasonmill datasets pull tiny@{version.version} --to DIR" in text
    assert "- steps: 60" in text and "- last_loss: 0.03" in text


def test_the_manifest_has_one_digest_however_much_of_the_version_was_pulled(tmp_path):
    version = make_version(tmp_path)
    part = read_version(client.pull("tiny", to=tmp_path / "data", source=version.path.parents[1], sets=("sft",)))
    assert "pulled_sets" in part.manifest
    assert manifest_digest(part.manifest) == part.manifest["manifest_sha256"] == version.manifest["manifest_sha256"]
    assert manifest_digest({"b": [1], "a": "é"}) == hashlib.sha256('{"a":"é","b":[1]}'.encode()).hexdigest()
