"""What the sections of a night's page are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.datasets.diff import VersionDiff
from pipelines.night_report.alarms import Alarm
from pipelines.night_report.facts import NightFacts
from pipelines.night_report.shared_words import SharedWords


@dataclass(frozen=True)
class Material:
    """What the sections are made of.

    Attributes:
        facts: what the lake says.
        alarms: what has changed too much.
        manifest: of the night's dataset version; a sentence where it cannot be read, None where there is none.
        difference: from the version before it; a sentence where they could not be compared, None without one of them.
        shared: texts behind the counts of the version's contamination certificate; a sentence where that is not known.
        links: where trees can be looked at: tree id -> address of its page.
    """

    facts: NightFacts
    alarms: Sequence[Alarm]
    manifest: Mapping[str, object] | str | None
    difference: VersionDiff | str | None
    links: Mapping[str, str]
    shared: Sequence[SharedWords] | str = ()
