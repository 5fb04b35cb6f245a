"""Publishers, repairs, pulls and pins that die at any moment: a run per write, rename and removal, dying before it.

A driver process counts these events with an audit hook, then forks one child per event that ends there (`os._exit`, so
that nothing is cleaned up and nothing flushed). After each death every visible version must be whole, and the same
action done again must end as if nothing had happened.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dataset_worlds import NIGHTS, make_settings, publish_night

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
DRIVER = """
import hashlib, json, os, shutil, sys
from pathlib import Path

sys.path.insert(0, "tests/pipelines")
from dataset_worlds import make_settings, publish_night
from pipelines.datasets.published import version_files
from pipelines.datasets.pull import pull_version
from pipelines.datasets.versions import DatasetStore, read_version
from pipelines.errors import WorkspaceError

template, place, action = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.link"}


def changes(event, args):
    if event == "open":
        path, mode, flags = args
        return isinstance(path, str) and path.startswith(str(place)) and bool(flags & (os.O_WRONLY | os.O_RDWR))
    return event in CHANGES and str(args[0]).startswith(str(place))


def act(root):
    settings = make_settings(root, max_shard_rows=2)
    store = DatasetStore(settings.datasets_url)
    if action == "publish":
        return publish_night(settings, "2026-11-04").version
    if action == "repair":  # of the version that the template has, damaged
        return publish_night(settings, "2026-11-03").version
    if action == "pull":
        return pull_version(store, "tiny", to=root / "to").version
    if action == "delete":
        versions = [one.version for one in store.listing("tiny").versions]
        return store.delete("tiny", versions[0]) if versions else None
    return store.pin("tiny", "latest", "prod").version


def die_at(number, root):
    seen = 0

    def hook(event, args):
        nonlocal seen
        if changes(event, args):
            seen += 1
            if seen == number:
                os._exit(9)

    sys.addaudithook(hook)
    act(root)
    os._exit(0)


def state(root):
    folders = [*(root / "workspace/datasets/tiny").glob("tiny-*"), *(root / "to").glob("tiny-*")]
    found = {}
    for folder in folders:
        try:
            version = read_version(folder)
        except WorkspaceError:
            assert action == "repair", folder
            found[str(folder.relative_to(root))] = "damaged"
            continue
        for file in version_files(version.manifest):
            assert hashlib.sha256((folder / file.path).read_bytes()).hexdigest() == file.sha256, (folder, file)
        assert (folder / "README.md").is_file()
        found[str(folder.relative_to(root))] = version.version
    store = DatasetStore(root / "workspace/datasets")
    return [found, {name: pin.version for name, pin in store.pins("tiny").items()}]


def forked(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


number, codes, after_death, after_all = 0, [], [], []
while 0 not in codes:
    number += 1
    root = place / str(number)
    shutil.copytree(template, root)
    codes.append(forked(lambda: die_at(number, root)))
    after_death.append(state(root))
    assert forked(lambda: act(root)) == 0, number
    after_all.append(state(root))
    shutil.rmtree(root)
print(json.dumps({"codes": codes, "after_death": after_death, "after_all": after_all}))
"""


@pytest.mark.parametrize(
    ("action", "at_least"), [("publish", 10), ("repair", 10), ("pull", 10), ("pin", 4), ("delete", 4)]
)
def test_a_death_before_any_write_leaves_whole_versions_only_and_the_next_run_finishes(tmp_path, action, at_least):
    version = publish_night(make_settings(tmp_path / "template", max_shard_rows=2), NIGHTS[0])
    if action == "repair":
        for name in ("manifest.json", "sft/train-00000-of-00003.parquet", "sft/train-00002-of-00003.parquet"):
            (version.path / name).write_bytes(b"{")
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "template"), str(tmp_path / "runs"), action]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    *deaths, last = found["codes"]
    assert (set(deaths), last) == ({9}, 0)
    assert len(deaths) >= at_least  # every one of them left nothing half visible: the driver checked all files
    undisturbed = found["after_death"][-1]
    assert all(state in (undisturbed, _before(found)) for state in found["after_death"])
    if action != "delete":  # which would remove one more
        assert all(state == undisturbed for state in found["after_all"])


def _before(found: dict) -> list:
    """The state before the action: that of a death before its first write."""
    return found["after_death"][0]
