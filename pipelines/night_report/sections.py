"""The parts of the report, each from the facts to HTML; a part without data says why in a sentence."""

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.night_report.material import Material
from pipelines.night_report.of_costs import history, ledger, what_changed
from pipelines.night_report.of_critic import audit, critic, depth, disagreements, judges
from pipelines.night_report.of_datasets import changes, filters, flow, pairs
from pipelines.night_report.of_policy import accuracy, exploration, pass_at_k, transitions

SectionFn = Callable[[Material], str]


@dataclass(frozen=True)
class Section:
    """A part of the page: `key` is its anchor."""

    key: str
    title: str
    body: str


def all_sections(material: Material) -> list[Section]:
    """Every section in the order of the page."""
    return [Section(key, title, write(material)) for key, title, write in SECTIONS]


SECTIONS: tuple[tuple[str, str, SectionFn], ...] = (
    ("flow", "From problems to datasets", flow),
    ("filters", "Filters", filters),
    ("accuracy", "Accuracy against tokens", accuracy),
    ("pass", "Policy: pass@k and greedy", pass_at_k),
    ("transitions", "What was learned, what was lost", transitions),
    ("critic", "Critic: calibration and drift", critic),
    ("depth", "First errors and values by depth", depth),
    ("judges", "Agreement of judges", judges),
    ("disagreements", "Where Monte Carlo, judges and critic disagree", disagreements),
    ("audit", "Audited sample", audit),
    ("pairs", "Preference pairs", pairs),
    ("exploration", "Exploration and exploitation", exploration),
    ("ledger", "Cost ledger", ledger),
    ("changes", "Dataset version", changes),
    ("log", "What made this night", what_changed),
    ("numbers", "All numbers", history),
)
