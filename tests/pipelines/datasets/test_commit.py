"""The commit of a checkout: its hash, a mark for local changes, and nothing where there is no checkout or no git."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.datasets.commit import SourceCommit, commit_of, source_commit

FOLDERS = ("pipelines", "sql")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of one commit with the source `pipelines/a.py` and a README."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    root = tmp_path / "checkout"
    (root / "pipelines").mkdir(parents=True)
    (root / "pipelines" / "a.py").write_text("1")
    (root / "README.md").write_text("1")
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
    for arguments in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "first")):
        subprocess.run(["git", *arguments], cwd=root, check=True)
    return root


def head(root: Path) -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True, text=True).stdout[
        :-1
    ]


def test_a_checkout_has_its_commit_and_a_mark_where_its_source_has_changes(checkout):
    clean = SourceCommit(head(checkout), False)
    (checkout / "README.md").write_text("2")  # no source
    assert source_commit(FOLDERS, checkout) == clean and str(clean) == head(checkout)
    (checkout / "pipelines" / "b.py").write_text("2")
    changed = source_commit(FOLDERS, checkout)
    assert changed == SourceCommit(head(checkout), True) and str(changed) == f"{head(checkout)} with local changes"


def test_a_folder_inside_another_repository_or_in_none_has_no_commit(checkout, tmp_path):
    assert source_commit(FOLDERS, checkout / "pipelines") is None
    (tmp_path / "installed").mkdir()
    assert source_commit(FOLDERS, tmp_path / "installed") is None
    assert source_commit(FOLDERS, tmp_path / "nothing") is None


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert source_commit(FOLDERS, checkout) is None


def test_a_repository_of_the_environment_is_not_asked(checkout, monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
    assert source_commit(FOLDERS, checkout) is not None


def test_what_a_manifest_says_is_taken_only_where_it_is_a_commit():
    assert commit_of({"code_commit": "a" * 40, "code_has_changes": False}) == SourceCommit("a" * 40, False)
    assert commit_of({"code_commit": "a" * 40}) == SourceCommit("a" * 40, True)  # nobody said that it had none
    for value in (None, 3, "main; rm -rf", "a" * 41, "A" * 40):
        assert commit_of({"code_commit": value}) is None
    assert commit_of({}) is None
