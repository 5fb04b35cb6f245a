"""The light client: without copying, without our environment."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pytest

from pipelines.errors import WorkspaceError
from reasonmill import client
from tests.pipelines.dataset_worlds import NIGHTS, publish_nights, sft_rows

ROOT = Path(__file__).parents[2]
IN_A_FRESH_ENVIRONMENT = """
import importlib.util, json, sys
from reasonmill import client

source, to, state = sys.argv[1:]
folder = client.pull("tiny", "prod", to=to, source=source)
batches = client.batches(folder, "sft", 2, seed=1, state=json.loads(state))
first = next(batches)
ours = ("pydantic", "dagster", "torch", "duckdb", "polars", "yaml", "datasets", "typer", "s3fs")
print(json.dumps({
    "module": client.__file__,
    "there": [name for name in ours if importlib.util.find_spec(name)],
    "folder": str(folder),
    "rows": client.open(folder, "sft").to_table().to_pylist(),
    "batch": first.to_pylist(),
    "state": batches.state(),
}))
"""


def test_importing_it_and_pulling_load_nothing_but_arrow_and_fsspec(tmp_path):
    store, _ = publish_nights(tmp_path, NIGHTS[:1])
    program = (
        f"import sys; from reasonmill import client; client.pull('tiny', to={str(tmp_path / 'to')!r},"
        f" source={store.root!r}); print(sorted({{name.partition('.')[0] for name in sys.modules}}"
        " & {'pydantic', 'yaml', 'duckdb', 'polars', 'typer', 'rich', 'torch', 'dagster', 'datasets', 'botocore'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_a_set_is_opened_three_ways_with_the_same_rows(tmp_path):
    store, (version,) = publish_nights(tmp_path, NIGHTS[:1])
    folder = client.pull("tiny", to=tmp_path / "to", source=store.root)
    rows = sft_rows(NIGHTS[0])
    for place, source in ((folder, None), ("tiny", store.root), (f"tiny@{version[:-6]}", store.root)):
        assert client.open(place, "sft", source=source).to_table().to_pylist() == rows
        assert client.open(place, "sft", "duckdb", source).to_arrow_table().to_pylist() == rows
        assert client.open(place, "sft", "polars", source).collect().to_dicts() == rows


def test_opening_reads_through_memory_maps_and_copies_no_rows(tmp_path):
    store, _ = publish_nights(tmp_path, NIGHTS[:1])
    folder = client.pull("tiny", to=tmp_path / "to", source=store.root)
    before = pa.total_allocated_bytes()
    opened = client.open(folder, "sft")
    assert opened.count_rows() == 5
    assert opened.filesystem == pyarrow.fs.LocalFileSystem(use_mmap=True) != pyarrow.fs.LocalFileSystem()
    assert pa.total_allocated_bytes() - before < 10_000


def test_where_the_datasets_are_comes_from_the_call_or_the_environment_or_the_workspace(tmp_path, monkeypatch):
    store, (version,) = publish_nights(tmp_path, NIGHTS[:1])
    monkeypatch.setenv("REASONMILL_DATASETS", store.root)
    assert client.open("tiny", "prompts").count_rows() == 1
    monkeypatch.delenv("REASONMILL_DATASETS")
    (tmp_path / "workspace/reasonmill.toml").write_text("")
    monkeypatch.setenv("REASONMILL_CONFIG", str(tmp_path / "workspace"))
    assert client.open("tiny", "prompts").count_rows() == 1


def test_what_cannot_be_opened_is_explained(tmp_path):
    store, (version,) = publish_nights(tmp_path, NIGHTS[:1])
    with pytest.raises(WorkspaceError, match="format is 'csv', but must be one of arrow, duckdb, polars"):
        client.open("tiny", "sft", "csv", store.root)
    with pytest.raises(WorkspaceError, match="no set 'stf'; did you mean sft"):
        client.open("tiny", "stf", source=store.root)
    with pytest.raises(WorkspaceError, match="there is no such folder"):
        client.open(tmp_path / "nowhere", "sft")
    with pytest.raises(WorkspaceError, match=r"s3://\*\*\*@bucket/tiny is a URL"):
        client.open("s3://key:secret@bucket/tiny", "sft")


@pytest.mark.parametrize("change", ["cut", "longer", "gone"])
def test_a_damaged_or_missing_shard_is_named_however_a_set_is_opened(tmp_path, change):
    store, _ = publish_nights(tmp_path, NIGHTS[:1])
    folder = client.pull("tiny", to=tmp_path / "to", source=store.root)
    shard = folder / "sft/train-00001-of-00003.parquet"
    data = shard.read_bytes()
    shard.unlink()
    if change != "gone":
        shard.write_bytes(data[:-9] if change == "cut" else b"PAR1" + data)
    said = f"The file {shard} cannot be read: .*Pull the version again"
    for format in client.OPENERS:
        with pytest.raises(WorkspaceError, match=said):
            client.open(folder, "sft", format)
    with pytest.raises(WorkspaceError, match=said):
        client.load(folder, "sft", cache_dir=str(tmp_path / "cache"))
    with pytest.raises(WorkspaceError, match=said):
        client.batches(folder, "sft", 2)


def test_a_shard_that_is_damaged_inside_is_named_by_batches_and_by_load(tmp_path):
    store, _ = publish_nights(tmp_path, NIGHTS[:1])
    folder = client.pull("tiny", to=tmp_path / "to", source=store.root)
    shard = folder / "sft/train-00001-of-00003.parquet"
    data = shard.read_bytes()
    shard.write_bytes(data[:4] + bytes(100) + data[104:])
    with pytest.raises(WorkspaceError, match=f"The file {shard} cannot be read"):
        list(client.batches(folder, "sft", 2))
    with pytest.raises(WorkspaceError, match="cannot be read: .*Pull the version again"):
        client.load(folder, "sft", cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize("package", ["duckdb", "polars"])
def test_a_package_that_is_not_installed_is_named_with_what_to_install(tmp_path, monkeypatch, package):
    store, _ = publish_nights(tmp_path, NIGHTS[:1])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(WorkspaceError, match=f"needs the package {package}.*`pip install {package}`"):
        client.open("tiny", "sft", package, store.root)


def test_tables_of_a_workspace_and_the_command_say_that_this_is_the_light_client(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    monkeypatch.delitem(sys.modules, "pipelines.warehouse")
    with pytest.raises(WorkspaceError, match="needs the package duckdb, which is not installed here: .* light client"):
        client.query("select 1", workspace=tmp_path)
    program = "import sys; sys.modules['typer'] = None; from reasonmill.script import main; main()"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "needs the package typer" in done.stderr


def test_a_manifest_that_was_edited_is_refused(tmp_path):
    store, _ = publish_nights(tmp_path, NIGHTS[:1])
    folder = client.pull("tiny", to=tmp_path / "to", source=store.root)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"engine": "another"}))
    for opened in (client.open, client.load):
        with pytest.raises(WorkspaceError, match="manifest.json cannot be used: it says manifest_sha256"):
            opened(folder, "sft")


def test_an_edited_card_is_a_python_warning(tmp_path):
    store, (version,) = publish_nights(tmp_path, NIGHTS[:1])
    Path(store.root, "tiny", version, "README.md").write_text("mine")
    with pytest.warns(UserWarning, match="was edited after publication"):
        client.pull("tiny", to=tmp_path / "to", source=store.root)


@pytest.mark.slow
def test_it_installs_alone_and_pulls_opens_and_resumes_in_a_fresh_environment(tmp_path):
    store, (version,) = publish_nights(tmp_path, NIGHTS[:1])
    store.pin("tiny", version, "prod")
    source = tmp_path / "source"  # pip builds in place: not in this tree, and without what only this machine has
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    packages = ("pipelines/", "reasonmill/", "sql/", "assets/", "critics/", "pyproject.toml", "README.md")
    for name in tracked.decode().split("\0"):
        if name.startswith(packages) and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", source]
    subprocess.run(install, check=True, env=environment, cwd=tmp_path)

    here = client.batches("tiny", "sft", 2, seed=1, source=store.root)
    order = [row for batch in here for row in batch.to_pylist()]
    saved = client.batches("tiny", "sft", 2, seed=1, source=store.root)
    next(saved)
    arguments = [store.root, str(tmp_path / "to"), json.dumps(saved.state())]
    command = [python, "-c", IN_A_FRESH_ENVIRONMENT, *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["module"].startswith(str(tmp_path / "env"))
    assert found["there"] == []
    assert found["folder"] == str(tmp_path / "to" / version)
    assert found["rows"] == sft_rows(NIGHTS[0])
    assert found["batch"] == order[2:4]
    assert (found["state"]["num_rows"], found["state"]["seed"]) == (4, 1)
