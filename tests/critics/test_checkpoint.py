"""What a checkpoint's manifest says, and which ones are read."""

import json

import pytest

from critics.checkpoint import code_digest, read_manifest
from critics.errors import CheckpointError

FIELDS = {
    "kind": "process", "digest": "d", "data_version": "", "examples_digest": "", "init_digest": "", "fold": None,
    "num_folds": 2, "training_problems_digest": "", "num_problems": 0, "num_nodes": 0, "num_pairs": 0, "config": {},
    "metrics": {}, "created_at": "",
}  # fmt: skip


def folder_with(tmp_path, **fields):
    (tmp_path / "manifest.json").write_text(json.dumps(fields))
    return tmp_path


def test_a_manifest_from_before_code_digests_is_read_without_one(tmp_path):
    assert read_manifest(folder_with(tmp_path, **FIELDS)).code_digest == ""
    assert read_manifest(folder_with(tmp_path, **FIELDS, code_digest="c")).code_digest == "c"


@pytest.mark.parametrize(
    ("fields", "odd"), [({name: value for name, value in FIELDS.items() if name != "fold"}, "fold"),
                        (FIELDS | {"colour": 1}, "colour")]
)  # fmt: skip
def test_a_manifest_with_other_fields_is_refused_by_name(tmp_path, fields, odd):
    with pytest.raises(CheckpointError, match=rf"other fields than this version writes: \['{odd}'\]"):
        read_manifest(folder_with(tmp_path, **fields))


def test_the_code_digest_changes_with_any_source_of_critics_or_its_queries(tmp_path):
    for path in ("critics/a.py", "sql/critics/b.sql", "pipelines/c.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("1")
    digests = [code_digest(tmp_path)]
    for path in ("critics/a.py", "sql/critics/b.sql", "pipelines/c.py"):
        (tmp_path / path).write_text("2")
        digests.append(code_digest(tmp_path))
    assert len(set(digests[:3])) == 3
    assert digests[3] == digests[2]  # another room
    (tmp_path / "critics/a.py").rename(tmp_path / "critics/d.py")
    assert code_digest(tmp_path) != digests[3]
