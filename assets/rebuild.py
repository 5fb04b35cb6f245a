"""A published version made again: the graph up to `published_version`, answered from the response store alone."""

import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from assets.resources import OpenSession, RunServices
from assets.run import materialize_night
from pipelines.config import Settings
from pipelines.datasets.published import PublishedVersion, read_version
from pipelines.datasets.rebuild import FileCheck, bring_critics, bring_earlier, compare, rebuild_settings
from pipelines.datasets.versions import remove_stale
from pipelines.inference.replay_only import replay_session
from pipelines.inference.session import Session
from pipelines.lake import Lake
from pipelines.records import ProgressFn

SELECTION = '+key:"published_version"'
SELECTION_WITHOUT_TRAINING = f'{SELECTION} and not key:"process_critic"'
WORKING = ".rebuilding-"


@dataclass(frozen=True)
class Rebuilt:
    """What came out.

    Attributes:
        version: the version that was made; its name is that of the first where all is the same.
        files: every shard of the first, beside the new one.
        seconds: wall time.
        num_model_calls: requests that an engine answered; 0, since there is none.
        num_from_store: requests that the response store answered.
        seconds_per_stage: wall time per step.
    """

    version: PublishedVersion
    files: list[FileCheck]
    seconds: float
    num_model_calls: int
    num_from_store: int
    seconds_per_stage: Mapping[str, float]

    @property
    def is_same(self) -> bool:
        return all(file.is_same for file in self.files)


class _Counted(RunServices):
    """Services that keep the counters of their sessions."""

    def __init__(self, settings: Settings, open_session: OpenSession, on_progress: ProgressFn | None) -> None:
        self.uses = []
        super().__init__(settings, on_progress=on_progress, open_session=open_session)

    def generate(self, context, work, model=None):
        made, use = super().generate(context, work, model)
        self.uses.append(use)
        return made, use


def rebuild_version(
    version: PublishedVersion,
    settings: Settings,
    target: Path,
    *,
    store: Path | None = None,
    keeps_critics: bool = False,
    on_progress: ProgressFn | None = None,
    open_session: OpenSession | None = None,
) -> Rebuilt:
    """Makes a version again in `target` and holds it against its checksums.

    store: the response store; None: the workspace's. keeps_critics: the night's critics are those of the workspace, by
    their digest, instead of trained again. open_session: for tests; None: `replay_session`.
    """
    started = time.monotonic()
    manifest = version.manifest
    target.mkdir(parents=True, exist_ok=True)
    remove_stale(target, (WORKING,))
    work = Path(tempfile.mkdtemp(prefix=WORKING, dir=target))
    try:
        chosen = rebuild_settings(manifest, settings, target, work, store)
        bring_earlier(manifest, Lake(settings.lake_url), Lake(chosen.lake_url))
        if keeps_critics:
            bring_critics(manifest, Lake(settings.lake_url), Lake(chosen.lake_url))
        services = _Counted(chosen, open_session or _replaying(chosen, manifest), on_progress)
        selection = SELECTION_WITHOUT_TRAINING if keeps_critics else SELECTION
        summary = materialize_night(chosen, str(manifest["night"]), selection=selection, services=services)
        found = read_version(summary.dataset_path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    answered, asked = (sum(use.num_from_store for use in services.uses), sum(use.num_requests for use in services.uses))
    failed = sum(use.num_request_errors for use in services.uses)
    return Rebuilt(
        found, compare(manifest, found), time.monotonic() - started, asked - answered - failed, answered,
        summary.seconds_per_stage,
    )  # fmt: skip


def _replaying(settings: Settings, manifest: Mapping[str, object]) -> OpenSession:
    def open_session(run_id: str, owner_pid: int, model: str | None) -> AbstractAsyncContextManager[Session]:
        return replay_session(settings, model, str(manifest["models"].get("policy", "")), str(manifest["engine"]))

    return open_session
