"""Pushing through the real library to a stand-in of a hub on this machine, which keeps what commits say."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines.config import PublishingConfig, Settings
from pipelines.datasets.hub import hub_card, push_version
from pipelines.datasets.manifest import RunInfo
from pipelines.datasets.published import PublishedVersion, card_problem, parse_manifest
from pipelines.errors import WorkspaceError
from pipelines.lake import Lake
from pipelines.publishing import publish
from pipelines.rows import rows_to_table

OID = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """One dataset repository: its files on main, its tags, its commits, and whether it refuses."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {".gitattributes": b""}
        self.tags: list[str] = []
        self.commits: list[str] = []
        self.is_refusing = False
        super().__init__(("127.0.0.1", 0), Handler)

    def commit(self, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        self.commits.append(lines[0]["value"]["summary"])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del self.files[value["path"]]


class Handler(BaseHTTPRequestHandler):
    """The few addresses that a push asks."""

    server: Hub

    def log_message(self, *arguments: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        files = [
            {"type": "file", "path": path, "oid": OID, "size": len(data)} for path, data in self.server.files.items()
        ]
        self.answer(files if "/tree/" in self.path else {"id": "me/set", "sha": OID})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.is_refusing:
            self.answer({"error": "no"}, 403)
        elif self.path.endswith("/repos/create"):
            self.answer({"url": f"{address(self.server)}/datasets/me/set", "id": "me/set", "name": "me/set"})
        elif "/preupload/" in self.path:
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self.answer({"files": files})
        elif "/commit/" in self.path:
            self.server.commit(body)
            self.answer(
                {"commitUrl": f"{address(self.server)}/datasets/me/set/commit/{OID}", "commitOid": OID, "success": True}
            )
        elif "/tag/" in self.path:
            self.server.tags.append(json.loads(body)["tag"])
            self.answer({})
        else:
            self.answer({"errors": [], "warnings": []})

    def answer(self, value: object, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def address(hub: Hub) -> str:
    return f"http://127.0.0.1:{hub.server_port}"


def version_of(root: Path, night: str, num_rows: int, max_shard_rows: int = 2) -> PublishedVersion:
    settings = Settings(root=root, publishing=PublishingConfig(name="tiny", max_shard_rows=max_shard_rows))
    lake = Lake(settings.lake_url)
    rows = [{"prompt": "x", "completion": str(i), "problem_id": "p", "rollout_id": str(i)} for i in range(num_rows)]
    lake.write("sft", rows_to_table("sft", rows), partition=night)
    return publish(settings, lake, night, ["sft"], RunInfo(code_digest="c"))


def test_a_version_becomes_one_tagged_commit_with_every_file(hub, tmp_path):
    version = version_of(tmp_path, "2026-11-03", 3)
    pushed = push_version(version, "me/set", endpoint=address(hub))
    assert (hub.commits, hub.tags) == ([f"Version {version.version}"], [version.version])
    assert (pushed.commit, pushed.num_files, pushed.num_deleted) == (OID, 5, 0)
    for name in ("sft/train-00000-of-00002.parquet", "sft/train-00001-of-00002.parquet", "figures/overview.png"):
        assert hub.files[name] == (version.path / name).read_bytes()


def test_the_pushed_card_reads_the_repository_and_fits_the_pushed_manifest(hub, tmp_path):
    version = version_of(tmp_path, "2026-11-03", 1)
    push_version(version, "me/set", endpoint=address(hub))
    card, manifest = hub.files["README.md"], parse_manifest(hub.files["manifest.json"], "hub")
    assert 'path = "me/set"' in card.decode() and str(tmp_path) not in card.decode()
    assert card_problem(manifest, card) is None


def test_the_next_version_replaces_the_one_before_in_one_commit(hub, tmp_path):
    push_version(version_of(tmp_path, "2026-11-03", 3), "me/set", endpoint=address(hub))
    pushed = push_version(version_of(tmp_path, "2026-11-04", 1), "me/set", endpoint=address(hub))
    assert pushed.num_deleted == 2 and len(hub.commits) == 2
    assert [path for path in hub.files if path.startswith("sft")] == ["sft/train-00000-of-00001.parquet"]
    assert ".gitattributes" in hub.files


def test_a_refusal_is_explained_without_the_token(hub, tmp_path):
    hub.is_refusing = True
    with pytest.raises(WorkspaceError, match="could not be pushed to me/set") as caught:
        push_version(version_of(tmp_path, "2026-11-03", 1), "me/set", endpoint=address(hub))
    assert "hf_secret" not in str(caught.value) and hub.commits == []


def test_a_changed_shard_or_card_is_never_pushed(hub, tmp_path):
    version = version_of(tmp_path, "2026-11-03", 1)
    card = version.path / "README.md"
    card.write_text(card.read_text() + "mine")
    with pytest.raises(WorkspaceError, match="was edited after publication"):
        push_version(version, "me/set", endpoint=address(hub))
    (version.path / "sft" / "train-00000-of-00001.parquet").write_bytes(b"x")
    with pytest.raises(WorkspaceError, match="is not what the manifest says"):
        push_version(version, "me/set", endpoint=address(hub))
    assert hub.commits == []


def test_a_name_that_is_no_repository_is_refused(hub, tmp_path):
    with pytest.raises(WorkspaceError, match="could not be pushed"):
        push_version(version_of(tmp_path, "2026-11-03", 1), "a/b/c", endpoint=address(hub))


def test_only_the_loading_examples_of_a_card_are_changed():
    text = 'x\npath = "v1"  # this folder\nrows = pyarrow.dataset.dataset(f"{path}/sft", format="parquet")\n'
    assert hub_card(text, "me/set", "v1").splitlines() == [
        "x",
        'path = "me/set"  # revision="v1" pins these rows',
        'rows = pyarrow.dataset.dataset(f"hf://datasets/{path}@v1/sft", format="parquet")',
    ]
