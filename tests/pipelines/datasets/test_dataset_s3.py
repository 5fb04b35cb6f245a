"""Datasets on an object store: a real S3 server (moto) on this machine, reached through s3fs."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from dataset_worlds import NIGHTS, files_beside, make_settings, publish_night, publish_nights, sft_rows
from moto.server import ThreadedMotoServer

from pipelines.datasets.pull import pull_version
from pipelines.datasets.versions import DatasetStore
from pipelines.errors import WorkspaceError
from reasonmill import client

ROOT = Path(__file__).parents[3]
KILLED_PUBLISHER = """
import os, sys
from pathlib import Path
import s3fs
sys.path.insert(0, "tests/pipelines")
from dataset_worlds import make_settings, publish_night

async def die(*args, **kwargs):
    os._exit(9)

s3fs.S3FileSystem._pipe_file = die  # the commit: the put of the manifest after all other files
publish_night(make_settings(Path(sys.argv[1]), sys.argv[2]), "2026-11-04")
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    fsspec.filesystem("s3").clear_instance_cache()  # of a server before, at another port
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of the datasets in a bucket of this test's own."""
    for key, value in {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    name = f"bucket-{secrets.token_hex(8)}"
    fsspec.filesystem("s3").mkdir(name)
    return f"s3://{name}/datasets"


@pytest.mark.slow
def test_a_version_is_published_listed_pinned_pulled_and_deleted_on_s3(bucket, tmp_path):
    store, (a, b) = publish_nights(tmp_path, NIGHTS[:2], bucket)
    assert store.names() == ["tiny"]
    assert [one.version for one in store.listing("tiny").versions] == [a, b]
    assert store.resolve("tiny").path == f"{bucket}/tiny/{b}"
    store.pin("tiny", a, "prod")
    assert store.rollback("tiny").version == a
    assert DatasetStore(bucket).pins_in_effect("tiny") == {"prod": a, "latest": a}
    pulled = pull_version(DatasetStore(bucket), "tiny", "prod", tmp_path / "to")
    assert (pulled.path, pulled.warnings) == (tmp_path / "to" / a, ())
    assert client.open(pulled.path, "sft").to_table().to_pylist() == sft_rows(NIGHTS[0])
    with pytest.raises(WorkspaceError, match="the pin .* points at it"):
        store.delete("tiny", a)
    assert store.delete("tiny", b) == b
    assert not [path for path in store.filesystem.find(store.folder("tiny")) if b in path]
    assert not any((tmp_path / "workspace/state").rglob("*.parquet"))  # what was built here before the upload


def test_a_set_on_s3_is_read_where_it_lies(bucket, tmp_path):
    publish_nights(tmp_path, NIGHTS[:1], bucket)
    rows = sft_rows(NIGHTS[0])
    assert client.open("tiny", "sft", "arrow", bucket).to_table().to_pylist() == rows
    assert client.open("tiny", "sft", "duckdb", bucket).to_arrow_table().to_pylist() == rows
    assert client.open("tiny", "sft", "polars", bucket).collect().to_dicts() == rows
    batches = client.batches("tiny", "sft", 2, source=bucket)
    assert next(batches).to_pylist() == rows[:2]
    rest = client.batches("tiny", "sft", 9, source=bucket, state=batches.state())
    assert [row for batch in rest for row in batch.to_pylist()] == rows[2:]


@pytest.mark.slow
def test_a_publisher_killed_before_the_manifest_leaves_nothing_visible_and_the_next_one_finishes(bucket, tmp_path):
    store, (first,) = publish_nights(tmp_path, NIGHTS[:1], bucket)
    command = [sys.executable, "-c", KILLED_PUBLISHER, str(tmp_path / "other"), bucket]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 9, done.stderr
    left = [path for path in store.filesystem.find(store.folder("tiny")) if first not in path]
    assert sum(path.endswith("/train-00000-of-00001.parquet") for path in left) == 2  # all its data are there,
    assert not any(path.endswith("/manifest.json") for path in left)  # and it is not
    assert [one.version for one in store.listing("tiny").versions] == [first]
    assert store.resolve("tiny").version == first
    second = publish_night(make_settings(tmp_path / "other", bucket), NIGHTS[1])
    assert store.resolve("tiny").version == second.version
    assert pull_version(store, "tiny", to=tmp_path / "to").version == second.version


def test_what_a_killed_publisher_left_on_s3_is_removed_once_it_is_old(bucket, tmp_path):
    store, (first,) = publish_nights(tmp_path, NIGHTS[:1], bucket)
    left = f"{store.folder('tiny')}/tiny-2026-11-02-000000000000/sft/train-00000-of-00001.parquet"
    store.filesystem.pipe_file(left, b"half")
    store.remove_old("tiny", 10, first)
    assert store.filesystem.exists(left)
    store.remove_old("tiny", 10, first, stale_after_s=-60.0)
    store.filesystem.invalidate_cache()
    assert not store.filesystem.exists(left)
    assert store.resolve("tiny").version == first


def test_publishing_the_same_content_again_puts_nothing(bucket, tmp_path):
    store, made = publish_nights(tmp_path, NIGHTS[:1], bucket)
    before = store.filesystem.find(store.root, detail=True)
    assert publish_nights(tmp_path, NIGHTS[:1], bucket)[1] == made
    store.filesystem.invalidate_cache()
    assert store.filesystem.find(store.root, detail=True) == before


def test_a_damaged_object_is_named_and_a_pull_goes_on_where_it_was(bucket, tmp_path):
    store, (version,) = publish_nights(tmp_path, NIGHTS[:1], bucket)
    path = f"{store.folder('tiny')}/{version}/sft/train-00001-of-00003.parquet"
    right = store.filesystem.cat_file(path)
    store.filesystem.pipe_file(path, right[:-1] + b"x")
    with pytest.raises(WorkspaceError, match=f"{bucket}/tiny/{version}/sft/train-00001-of-00003.parquet is damaged"):
        pull_version(store, "tiny", to=tmp_path / "to")
    store.filesystem.pipe_file(path, right)
    pulled = pull_version(store, "tiny", to=tmp_path / "to")
    assert pulled.num_copied + pulled.num_kept == 4 + files_beside(store.resolve("tiny"))
    assert pulled.num_kept >= 1  # files are copied side by side, so which of them the failure stopped may differ
    manifest = json.loads((pulled.path / "manifest.json").read_text())
    assert manifest["version"] == version


def test_a_bucket_that_is_not_there_is_explained(bucket, tmp_path):
    with pytest.raises(WorkspaceError, match="There is no dataset 'tiny' in s3:.*there are none"):
        DatasetStore("s3://no-such-bucket/datasets").resolve("tiny")
    with pytest.raises(WorkspaceError, match="s3://no-such-bucket/datasets cannot be read or written"):
        publish_nights(tmp_path, NIGHTS[:1], "s3://no-such-bucket/datasets")


def test_a_store_without_credentials_is_an_explained_error(bucket):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"]}
    command = [sys.executable, "-m", "reasonmill.cli.main", "datasets", "list", "--source", bucket]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"The datasets at {bucket} cannot be read or written: Unable to locate credentials.\n"
