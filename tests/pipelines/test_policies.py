"""New checkpoints of the policy: the newest usable one is taken, and others are named with a reason."""

import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from pipelines.config import Settings
from pipelines.inference.session import model_folder
from pipelines.policies import adopt, adopted, with_adopted_policy


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings.model_validate({"root": tmp_path, "schedule": {"policy_folder": "policies"}})


def checkpoint(settings: Settings, name: str, at: int) -> Path:
    """A copy of the starter, written at a second."""
    folder = settings.in_workspace("policies") / name
    shutil.copytree(model_folder("starter"), folder)
    os.utime(folder / "config.json", (at, at))
    return folder


def test_without_a_folder_or_a_checkpoint_the_configured_policy_stays(settings, tmp_path):
    plain = Settings(root=tmp_path)
    assert with_adopted_policy(plain) is plain
    assert adopt(settings).folder is None
    assert with_adopted_policy(settings).policy.model == "starter"


def test_the_newest_checkpoint_makes_the_next_night_and_only_once_it_was_adopted(settings):
    old, new = checkpoint(settings, "z-old", 100), checkpoint(settings, "a-new", 200)
    assert adopted(settings) is None and with_adopted_policy(settings).policy.model == "starter"
    first = adopt(settings)
    assert (first.folder, first.is_new, list(first.rejected)) == (new, True, [])
    assert with_adopted_policy(settings).policy.model == str(new)
    assert not adopt(settings).is_new
    os.utime(old / "config.json", (300, 300))
    assert with_adopted_policy(settings).policy.model == str(new)  # not before somebody adopts it
    assert adopt(settings).folder == old


def test_the_watched_folder_may_be_a_checkpoint_itself(settings):
    shutil.copytree(model_folder("starter"), settings.in_workspace("policies"))
    assert adopt(settings).folder == settings.in_workspace("policies")


def rejected_reason(settings: Settings, good: Path) -> str:
    adoption = adopt(settings)
    assert adoption.folder == good
    (one,) = adoption.rejected
    return one.reason


def test_a_checkpoint_without_weights_is_named_and_the_one_before_it_is_used(settings):
    good, bad = checkpoint(settings, "good", 100), checkpoint(settings, "bad", 200)
    for file in bad.glob("*.safetensors"):
        file.unlink()
    assert "weights" in rejected_reason(settings, good)


def test_a_checkpoint_that_was_cut_off_is_named_with_both_sizes(settings):
    good, bad = checkpoint(settings, "good", 100), checkpoint(settings, "bad", 200)
    (file,) = bad.glob("*.safetensors")
    size = file.stat().st_size
    with open(file, "r+b") as opened:
        opened.truncate(size - 10)
    reason = rejected_reason(settings, good)
    assert "cannot be loaded" in reason and f"{size - 10:,}" in reason and f"{size:,}" in reason


def test_weights_that_are_no_safetensors_are_named(settings):
    good, bad = checkpoint(settings, "good", 100), checkpoint(settings, "bad", 200)
    (file,) = bad.glob("*.safetensors")
    file.write_bytes(b"\xff" * 64)
    assert "no header" in rejected_reason(settings, good)


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def rewrite(folder: Path, change: Callable[[dict], object]) -> None:
    (file,) = folder.glob("*.safetensors")
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


def cut_into_shards(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


NORM = "model.norm.weight"
BREAKS = {
    "holds list": lambda folder: (folder / "tokenizer.json").write_text("[]"),
    "tokenizer_config.json cannot be read": lambda folder: (folder / "tokenizer_config.json").write_text("{"),
    "generation_config.json cannot be read": lambda folder: (folder / "generation_config.json").write_text("?"),
    "Unrecognized model": lambda folder: (folder / "config.json").write_text("{}"),
    "does not recognize this architecture": lambda folder: edit(folder / "config.json", model_type="no_such"),
    r"has shape \(.*128.*\), \(.*256.*\) is expected": lambda folder: edit(folder / "config.json", hidden_size=256),
    "lack model.norm.weight": lambda folder: rewrite(folder, lambda weights: weights.pop(NORM)),
    f"NaN or infinity in {NORM}": lambda folder: rewrite(folder, lambda weights: weights[NORM].fill_(float("nan"))),
    "lacks model-00002-of-00002.safetensors": cut_into_shards,
    "header cannot be read": lambda folder: (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"[]"),
}


@pytest.mark.parametrize("said", BREAKS)
def test_a_checkpoint_whose_files_do_not_fit_together_is_named_and_the_one_before_it_is_used(settings, said):
    good, bad = checkpoint(settings, "good", 100), checkpoint(settings, "bad", 200)
    BREAKS[said](bad)
    os.utime(bad / "config.json", (200, 200))
    assert re.search(said, rejected_reason(settings, good))


@pytest.mark.parametrize(
    ("file", "changes"),
    [("tokenizer.json", {"post_processor": {"type": "ByteLevel"}}), ("tokenizer_config.json", {"eos_token": "<pad>"})],
)
def test_a_tokenizer_that_adds_or_ends_with_other_tokens_is_refused(settings, file, changes):
    good, bad = checkpoint(settings, "good", 100), checkpoint(settings, "bad", 200)
    edit(bad / file, **changes)
    assert "tokenizer" in rejected_reason(settings, good)


def test_another_tokenizer_is_refused(settings):
    good, bad = checkpoint(settings, "good", 100), checkpoint(settings, "bad", 200)
    path = bad / "tokenizer.json"
    data = json.loads(path.read_text())
    data["added_tokens"] = data["added_tokens"][:-1]
    path.write_text(json.dumps(data))
    assert "tokenizer" in rejected_reason(settings, good)


def test_a_checkpoint_that_went_away_leaves_the_configured_policy(settings):
    folder = checkpoint(settings, "one", 100)
    adopt(settings)
    shutil.rmtree(folder)
    assert with_adopted_policy(settings).policy.model == "starter"
