"""The direction of imports, sql <- pipelines <- critics <- assets <- reasonmill, and the rooms of outside libraries."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("sql", "pipelines", "critics", "assets", "reasonmill")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

# library -> the only places that may import it, as path prefixes
ROOMS = {
    "dagster": ("assets/",),
    "torch": ("critics/", "pipelines/starter/train.py", "pipelines/starter/fine_tune.py"),
    "transformers": (
        "critics/",
        "pipelines/starter/train.py",
        "pipelines/starter/fine_tune.py",
        "pipelines/inference/tokens.py",
        "pipelines/inference/checkpoint_files.py",
    ),
    "tokenizers": (
        "critics/",
        "pipelines/starter/train.py",
        "pipelines/starter/fine_tune.py",
        "pipelines/inference/tokens.py",
    ),
    "vllm": ("pipelines/inference/",),
    "ray": ("pipelines/inference/",),
    "httpx": ("pipelines/inference/",),
    "aiohttp": ("pipelines/inference/",),
    "duckdb": ("pipelines/warehouse.py", "reasonmill/client.py"),
    "matplotlib": ("critics/figures.py", "pipelines/datasets/figures.py"),
    "typer": ("reasonmill/",),
    "rich": ("reasonmill/",),
}
PARQUET_WRITER = "pipelines/lake.py"
NO_SUCH_FILE = {"utils.py", "helpers.py", "common.py"}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_a_file_imports_only_from_its_own_folder_and_those_left_of_it(path: Path) -> None:
    place = FOLDERS.index(_name(path).split("/")[0])
    right = set(FOLDERS[place + 1 :])
    assert [module for module in _imports(path) if module.split(".")[0] in right] == []


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_a_library_is_imported_only_in_its_room(path: Path) -> None:
    outside = [
        module for module in _imports(path)
        if (rooms := ROOMS.get(module.split(".")[0])) is not None and not _name(path).startswith(rooms)
    ]  # fmt: skip
    assert outside == []


def test_only_the_lake_writes_parquet() -> None:
    # calls of the lake's own `write_parquet` are wanted everywhere; those of libraries only in the lake
    library = re.compile(r"\b(pq|pads|pyarrow|frame|pl|dataset)\.(write_|sink_|to_parquet|ParquetWriter)")
    writers = {_name(path) for path in FILES if library.search(path.read_text(encoding="utf-8"))}
    assert writers <= {PARQUET_WRITER}


def test_assets_have_no_postponed_annotations() -> None:
    """`from __future__ import annotations` breaks Dagster's context annotations."""
    assert [_name(path) for path in FILES if _name(path).startswith("assets/") and "__future__" in _imports(path)] == []


def test_no_file_is_named_for_nothing() -> None:
    assert [_name(path) for path in FILES if path.name in NO_SUCH_FILE] == []
