"""The card of a dataset version: YAML that `datasets` reads, then what a person wants to know."""

from collections.abc import Mapping

import pyarrow as pa
import yaml

from pipelines.datasets.card_text import SPLIT, card_text


def card(manifest: Mapping[str, object], tables: Mapping[str, pa.Table], licence: str) -> str:
    """The dataset card: YAML that `load_dataset` reads, then what a reader wants to know."""
    version = str(manifest["version"])
    front = {
        "license": licence,
        "pretty_name": version,
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "reasoning", "reasonmill"],
        "configs": [
            {
                "config_name": name,
                "description": f"{version}/{name}",
                "data_files": [{"split": SPLIT, "path": f"{name}/{SPLIT}-*.parquet"}],
            }
            for name in tables
        ],
        "dataset_info": [_dataset_info(name, table, manifest["sets"][name]) for name, table in tables.items()],
    }
    front["configs"][0]["default"] = True
    yaml_text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return f"---\n{yaml_text}---\n\n{card_text(manifest)}"


def _dataset_info(name: str, table: pa.Table, entry: Mapping[str, object]) -> dict[str, object]:
    size = sum(file["num_bytes"] for file in entry["files"])
    return {
        "config_name": name,
        "features": [_feature(column) for column in table.schema],
        "splits": [{"name": SPLIT, "num_bytes": table.nbytes, "num_examples": table.num_rows}],
        "download_size": size,
        "dataset_size": table.nbytes,
    }


def _feature(column: pa.Field) -> dict[str, str]:
    """One column in the words of `datasets.Features`."""
    if pa.types.is_list(column.type):
        return {"name": column.name, "list": _dtype(column.type.value_type)}
    return {"name": column.name, "dtype": _dtype(column.type)}


def _dtype(kind: pa.DataType) -> str:
    return {"double": "float64"}.get(str(kind), str(kind))
