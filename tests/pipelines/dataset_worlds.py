"""Tiny published datasets: a handful of rows per set, made by the real publisher."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.config import PathsConfig, PublishingConfig, Settings
from pipelines.datasets.published import version_files
from pipelines.datasets.versions import DatasetStore, PublishedVersion
from pipelines.lake import Lake
from pipelines.publishing import publish
from pipelines.rows import rows_to_table

NIGHTS = ("2026-11-03", "2026-11-04", "2026-11-05")


def make_settings(root: Path, url: str | None = None, **publishing: int) -> Settings:
    """A workspace whose dataset is called tiny; `url`: where datasets lie if not in it."""
    paths = PathsConfig(datasets=url) if url else PathsConfig()
    return Settings(root=root / "workspace", paths=paths, publishing=PublishingConfig(name="tiny", **publishing))


def sft_rows(night: str, num_rows: int = 5) -> list[dict[str, str]]:
    """Rows 0, 1, 2 ... of a night: prompt "q0", completion "a0 <night>"."""
    return [
        {"prompt": f"q{i}", "completion": f"a{i} {night}", "problem_id": f"p{i}", "rollout_id": f"r{i}",
         "origin": "search", "night": night}
        for i in range(num_rows)
    ]  # fmt: skip


def publish_night(settings: Settings, night: str, num_rows: int = 5) -> PublishedVersion:
    """One night with `num_rows` rows of sft and one prompt."""
    lake = Lake(settings.lake_url)
    lake.write("sft", rows_to_table("sft", sft_rows(night, num_rows)), partition=night)
    prompt = {"prompt": "q", "reference_answer": "3", "problem_id": "p0", "family": "arithmetic", "night": night}
    lake.write("prompts", rows_to_table("prompts", [prompt]), partition=night)
    return publish(settings, lake, night, ["sft", "prompts"])


def publish_nights(
    root: Path, nights: Sequence[str] = NIGHTS, url: str | None = None, **publishing: int
) -> tuple[DatasetStore, list[str]]:
    """(store, names of the versions, oldest first): shards of two rows, so that sft has three files."""
    settings = make_settings(root, url, **({"max_shard_rows": 2} | publishing))
    made = [publish_night(settings, night).version for night in nights]
    return DatasetStore(settings.datasets_url), made


def files_beside(version: PublishedVersion) -> int:
    """How many files a version has besides sets, card and manifest (pictures of the card)."""
    return sum(file.set_name == "" for file in version_files(version.manifest))
