"""What it takes to make a version again: the same source, the configuration of its manifest, and nights before it.

The tables are computed again by the same graph, with every model's answer from the response store; critics are trained
again from the same seeds, or kept by their digest. `compare` then holds the files against the
manifest's checksums: identical bytes, or a named difference.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.config import Settings
from pipelines.datasets.commit import commit_of
from pipelines.datasets.manifest import source_digest
from pipelines.datasets.published import PublishedVersion, told
from pipelines.datasets.review import rows_until
from pipelines.errors import WorkspaceError
from pipelines.lake import GENERATION_NAME, MANIFEST, PARTITION_NAME, Lake
from pipelines.tables import BY_PEOPLE, SCHEMAS, UNPARTITIONED

NEEDED = ("code_digest", "configuration", "night", "models", "engine")


@dataclass(frozen=True)
class FileCheck:
    """A shard of the version and whether the rebuilt one has the same bytes."""

    path: str
    expected_sha256: str
    found_sha256: str | None  # None: it was not made

    @property
    def is_same(self) -> bool:
        return self.expected_sha256 == self.found_sha256


def check_source(manifest: Mapping[str, object]) -> str | None:
    """A sentence where the source is not that of the version; None where it is.

    WorkspaceError where the manifest lacks what it takes to make the version again.
    """
    for field in NEEDED:
        told(manifest, field)
    now, then = source_digest(), str(manifest["code_digest"])
    if now == then:
        return None
    return (
        f"{manifest['version']} was made by the code {then[:12]}, and this is {now[:12]}: other code may make other "
        f"rows. {_way_back(manifest)}, or go on with --force and look at the checksums."
    )


def _way_back(manifest: Mapping[str, object]) -> str:
    """How one comes to the source of then."""
    commit = commit_of(manifest)
    if commit is None:
        return "Check out the commit of then, which was not recorded"
    if commit.has_changes:
        return f"Check out {commit.commit}, whose source had local changes then, which have to be made again"
    return f"Check out {commit.commit}"


def rebuild_settings(
    manifest: Mapping[str, object], settings: Settings, target: Path, work: Path, store: Path | None
) -> Settings:
    """The configuration of the version with everything that is written below `work`, and the version in `target`.

    The workspace stays `settings.root`, where the user's own filters, prompts and problem files lie.
    """
    paths = {
        "lake": str(work / "lake"),
        "checkpoints": str(work / "checkpoints"),
        "state": str(work / "state"),
        "datasets": str(target),
        "responses": str(store or settings.response_store_path),
    }
    try:
        return Settings.model_validate({**manifest["configuration"], "paths": paths, "root": settings.root})
    except ValueError as error:
        raise WorkspaceError(
            f"The configuration in the manifest of {manifest['version']} is not one of this code: "
            f"{str(error).splitlines()[0]}. {_way_back(manifest)}."
        ) from error


def bring_earlier(manifest: Mapping[str, object], source: Lake, target: Lake) -> int:
    """Puts what the version was made from in other nights into its lake, by links; returns the number of partitions.

    Exactly the generations that the manifest names, or, where it does not name them all (`earlier_is_complete`), all of
    the nights before the version's own. Of what people added, the rows that were there then. WorkspaceError where a
    night that the version was made from is no longer there as it was.
    """
    is_complete = manifest.get("earlier_is_complete") is True
    named: list[tuple[str, str, str]] = []
    for key, generation in (manifest.get("earlier_generations") or {}).items():
        table, _, partition = key.partition("/")
        if table in BY_PEOPLE:
            _bring_rows_of_people(source, target, table, partition, generation)
            continue
        if not _is_there(source, table, partition, generation, is_newest=not (is_complete and source.is_local)):
            raise WorkspaceError(
                f"{manifest['version']} was made from {key} (generation {generation}), which {source.root} does not "
                f"have; rebuild the night {partition} first, or run this in the workspace that has it."
            )
        named.append((table, partition, generation))
    if is_complete:
        for table, partition, generation in named:
            _bring(source, target, table, partition, generation)
        return len(named)
    earlier = [
        (table, partition)
        for table in SCHEMAS
        if table not in (*UNPARTITIONED, *BY_PEOPLE)
        for partition in source.partitions(table)
        if partition < str(manifest["night"])
    ]
    for table, partition in earlier:
        _bring(source, target, table, partition, source.generation(table, partition))
    return len(earlier)


def _is_there(source: Lake, table: str, partition: str, generation: object, *, is_newest: bool) -> bool:
    """Whether a lake has a generation: as its newest one, or (local lakes keep the one before) on its disk at all."""
    if table not in SCHEMAS or not PARTITION_NAME.fullmatch(partition) or not isinstance(generation, str):
        return False
    if is_newest:
        return source.generation(table, partition) == generation
    return (
        bool(GENERATION_NAME.fullmatch(generation))
        and Path(source.root, table, partition, generation, MANIFEST).is_file()
    )


def _bring(source: Lake, target: Lake, table: str, partition: str, generation: str) -> None:
    if source.is_local and target.is_local:
        folder = Path(target.root, table, partition)
        folder.mkdir(parents=True, exist_ok=True)
        os.symlink(Path(source.root, table, partition, generation).resolve(), folder / generation)
        return
    lineage = source.manifest(table, partition).lineage
    target.write(table, source.read(table, partition), partition=partition, lineage=lineage)


def _bring_rows_of_people(source: Lake, target: Lake, table: str, partition: str, generation: str) -> None:
    now = source.generation(table, partition)
    if now is None or now[:8] < generation[:8]:
        raise WorkspaceError(
            f"The version was made from {table}/{partition} (generation {generation}), of which {source.root} has "
            f"{now or 'nothing'}; run this in the workspace where those labels were imported."
        )
    target.write(table, rows_until(source.read(table, partition), generation), partition=partition)


def bring_critics(manifest: Mapping[str, object], source: Lake, target: Lake) -> None:
    """Puts the night's critics into the version's lake; their weights stay where they lie.

    WorkspaceError where the workspace has other critics of that night than the version was made with.
    """
    night = str(manifest["night"])
    rows = source.read("critics", night)
    digests = {row["digest"] for row in rows.to_pylist() if row["fold"] is None}
    wanted = str(manifest["models"].get("process_critic", ""))
    if not digests or not digests <= set(wanted.split("+")):
        raise WorkspaceError(
            f"{manifest['version']} was made with the critic {wanted[:12] or 'none'}, but {source.root} has "
            f"{', '.join(one[:12] for one in sorted(digests)) or 'none'} for the night {night}; leave --keep-critics "
            "out and they are trained again."
        )
    target.write("critics", rows, partition=night, lineage=source.manifest("critics", night).lineage)


def other_models(expected: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    """A sentence per model of the rebuilt version whose weights are not those of the first; critics are trained again.

    Training repeats itself from seed and data on one kind of machine; another processor or another torch may round
    otherwise.
    """
    then, now = dict(expected.get("models") or {}), dict(found.get("models") or {})
    return [
        f"{role} has the weights {str(now.get(role))[:12]}, not {str(digest)[:12]}: keep the critics of then "
        "(--keep-critics), or rebuild on a machine and a stack as in the manifest's `stack`."
        for role, digest in sorted(then.items())
        if now.get(role) != digest
    ]


def compare(expected: Mapping[str, object], found: PublishedVersion | None) -> list[FileCheck]:
    """Every shard of the manifest beside the one that was made now."""
    made = {
        file["path"]: file["sha256"]
        for entry in (found.manifest["sets"] if found else {}).values()
        for file in entry["files"]
    }
    return [
        FileCheck(file["path"], file["sha256"], made.get(file["path"]))
        for entry in expected["sets"].values()
        for file in entry["files"]
    ]
