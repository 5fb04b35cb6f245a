"""`current_critic`: an asset that no step makes, so that Dagster knows which critic is current.

Tonight's search and scores are made with the current critic, and the current critic is chosen from what was trained on
tonight's search: in one graph that is a cycle. So the choice is an external asset with a partition per night. Whoever
changes it (the asset `critic_promotions`, or `reasonmill critic promote` and `rollback`) reports its new data version,
and what was scored by another critic becomes stale, as does what was filtered by such scores: Dagster looks no further
than one edge, so the filtered sets depend on the choice directly.
"""

import os

import dagster as dg

from assets.partitions import nightly_partitions
from critics.registry import CriticSet
from pipelines.config import Settings

KEY = "current_critic"
DATA_VERSION_TAG = "dagster/data_version"


def current_critic_spec(settings: Settings) -> dg.AssetSpec:
    """The external asset."""
    return dg.AssetSpec(
        KEY,
        group_name="promotion",
        kinds={"pytorch"},
        partitions_def=nightly_partitions(settings.schedule),
        description="The critics that guide the search and score for the filters; critic_promotions and "
        "`reasonmill critic promote` or `rollback` change them.",
    )


def current_critic_dep(mapping: dg.PartitionMapping) -> dg.AssetDep:
    """A dependence on the choice of these nights."""
    return dg.AssetDep(KEY, partition_mapping=mapping)


def changed(critics: CriticSet, night: str) -> dg.AssetObservation:
    """The event that makes what was scored on a night by other critics stale."""
    return dg.AssetObservation(
        KEY,
        partition=night,
        tags={DATA_VERSION_TAG: critics.version},
        metadata={"critic": critics.full.critic_id, "critic_night": critics.night, "path": critics.full.path},
    )


def report_change(critics: CriticSet, night: str) -> bool:
    """Tells the Dagster instance of DAGSTER_HOME of a change by hand; False where there is none to tell."""
    if not os.environ.get("DAGSTER_HOME"):
        return False
    with dg.DagsterInstance.get() as instance:
        instance.report_runless_asset_event(changed(critics, night))
    return True
