"""Sections of what came out: the flow of rows, filters, the dataset version, preference pairs."""

from collections.abc import Mapping, Sequence
from html import escape

from pipelines.datasets.diff import VersionDiff
from pipelines.night_report.html import Cell, Raw, code, empty, figure, paragraph, share, side_by_side, table
from pipelines.night_report.material import Material
from pipelines.night_report.sankey import Link, sankey
from pipelines.night_report.shared_words import SharedWords
from pipelines.night_report.svg import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    Axis,
    Frame,
    Point,
    Series,
    nice_axis,
    plot,
    short,
)

MIN_SHIFT, MAX_SHIFTS = 0.1, 12  # of the distributions that are told
FLOW_COLUMNS = ("problems", "answered by", "grade", "filter, or beside it", "training sets")
FLOW_ORDER = (
    "problems", "samples", "search", "right", "wrong", "not_graded", "kept", "tree_paths", "refinements",
    "replay", "rl_groups", "sft", "preference", "stepwise",
)  # fmt: skip
FLOW_COLOURS = {
    "right": BLUE, "wrong": ORANGE, "not_graded": GREY, "kept": GREEN, "tree_paths": PURPLE, "refinements": "#8a7a3c",
    "replay": "#8a7a3c", "problems": "#4a525c", "samples": "#4a525c", "search": "#4a525c", "rl_groups": GREEN,
    "sft": GREEN, "preference": GREEN, "stepwise": GREEN,
}  # fmt: skip


def flow(material: Material) -> str:
    rows = material.facts.rows["night_flow"]
    if not rows:
        return empty("No rollout of this night is in the lake, so nothing flowed.")
    links = [
        Link(**{name: row[name] for name in ("place", "source", "target", "num_rows", "num_tokens")}) for row in rows
    ]
    (counts,) = material.facts.rows["night_problems"]
    lead = (
        f"{counts['num_problems']:,} problems: {counts['num_search_problems']:,} searched, "
        f"{counts['num_sample_problems']:,} sampled. Widths are rows; a row may enter several sets. Filters judge "
        "groups of samples, so paths of trees, refinements and replayed solutions pass beside them."
    )
    num_rollouts = sum(link.num_rows for link in links if link.place == 0)
    words = {(0, "problems"): f"{counts['num_problems']:,}, {short(num_rollouts)} rollouts"}
    picture = sankey(links, FLOW_COLUMNS, FLOW_COLOURS, order=FLOW_ORDER, words=words)
    return paragraph(lead) + figure(
        picture, "Rows and completion tokens from problems to training sets.", is_large=True
    )


def filters(material: Material) -> str:
    steps = material.facts.rows["filter_steps"]
    if not steps:
        return empty("No filter has judged this night's rollouts.")
    night = material.facts.night
    reasons = [row for row in material.facts.rows["filter_yields"] if row["night"] == night]
    by_method: dict[str, str] = {}
    for row in reasons:
        if row["reason"] != "kept":
            words = f"{row['reason']} {row['num_rollouts']:,}"
            by_method[row["method"]] = ", ".join(filter(None, [by_method.get(row["method"]), words]))
    out = table(
        ["filter", "judged", "removed", "share removed", "alone", "reasons"],
        [
            [code(row["method"]), row["num_in"], row["num_removed"], share(row["share_removed"]), row["num_alone"],
             Raw(escape(by_method.get(row["method"], "")).replace(", ", "<br>"))]
            for row in steps
        ],
    )  # fmt: skip
    overlaps = material.facts.rows["filter_overlaps"]
    if not overlaps:
        return out + empty("Only one filter judged the rollouts, so there is no overlap to show.")
    rows = [
        [code(row["filter"]), code(row["other"]), row["num_removed"], row["num_other"], row["num_both"],
         share(row["overlap"])]
        for row in overlaps
    ]  # fmt: skip
    heads = ["filter", "other", "removed by first", "by other", "by both", "overlap (both / either)"]
    return out + "<h3>Overlaps</h3>" + table(heads, rows)


def changes(material: Material) -> str:
    rows = material.facts.rows["set_changes"]
    if not rows:
        return empty("The night has no training sets.")
    parts = []
    if isinstance(material.manifest, Mapping):
        parts.append(f"<p>Version {code(material.manifest['version']).html}</p>")
    body = [
        [code(row["set_name"]), row["num_rows"], row["num_before"], row["num_added"], row["num_removed"]]
        for row in rows
    ]
    parts.append(table(["set", "rows", "rows the night before", "new", "gone"], body))
    if material.facts.previous is None:
        parts.append(empty("This is the first night of the lake, so there is no version to compare with."))
    else:
        parts.append(_shifts(material.difference))
    return "".join(parts) + "<h3>Contamination certificate</h3>" + _certificate(material.manifest, material.shared)


def _shifts(found: VersionDiff | str | None) -> str:
    """Columns whose distribution has moved by MIN_SHIFT and more since the version before."""
    if found is None:
        return empty("No version was published on an earlier night, so there are no distributions to compare with.")
    if isinstance(found, str):
        return empty(f"The version before could not be compared with: {found}")
    moved = [(one.name, shift) for one in found.sets for shift in one.shifts if (shift.distance or 0.0) >= MIN_SHIFT]
    moved.sort(key=lambda item: -item[1].distance)
    title = f"<h3>Shifts since {escape(found.old)}</h3>"
    if not moved:
        return title + empty(f"No column's distribution has moved by {MIN_SHIFT} or more.")
    body = [
        [code(name), code(shift.column), f"{shift.distance:.2f}", _middle(shift.old_quantiles, shift.old_shares),
         _middle(shift.new_quantiles, shift.new_shares)]
        for name, shift in moved[:MAX_SHIFTS]
    ]  # fmt: skip
    note = (
        "Distance: 0 where both versions are alike, 1 where they share nothing (Kolmogorov-Smirnov for numbers, total "
        "variation for words)."
    )
    rest = f"<p>All of it: {code(f'reasonmill datasets diff {found.old} {found.new}').html}</p>"
    return title + table(["set", "column", "distance", "before", "now"], body) + paragraph(note) + rest


def _middle(quantiles: Sequence[float], shares: Sequence[tuple[str, float]]) -> str:
    """The median and what 90 % lie between, or the commonest words."""
    if quantiles:
        low, middle, high = quantiles
        return f"{middle:.3g} ({low:.3g} to {high:.3g})"
    return ", ".join(f"{word} {share(part, 0)}" for word, part in shares[:3])


def _certificate(manifest: Mapping[str, object] | str | None, shared: Sequence[SharedWords] | str) -> str:
    if manifest is None:
        return empty("No version was published on this night.")
    if isinstance(manifest, str):
        return empty(f"The version of this night cannot be read: {manifest}")
    found = manifest.get("contamination")
    if not isinstance(found, Mapping):
        return empty("The manifest of this version carries no contamination certificate: nothing is certified.")
    by_problem, by_words = found.get("by_problem") or {}, found.get("by_words") or []
    body = [
        [code(name), of["num_held_out"], of["num_evaluation"], of.get("num_unknown"), *_shared_words(name, by_words)]
        for name, of in sorted(by_problem.items())
    ]
    heads = [
        "set",
        "rows of held-out problems",
        "of evaluation problems",
        "of unknown problems",
        "rows tested",
        "that share words",
    ]
    lists = [
        f"{one['name']} ({one['num_items']:,} texts, {one['num_too_short']:,} too short to test)"
        for words in by_words
        for one in words["items"]
    ]
    note = (
        f"A row shares words where {found.get('n')} in a row, or all of a text of {found.get('min_words')} words and "
        f"more, stand in: {'; '.join(lists) or 'nothing, because no list of texts was given'}."
    )
    marked = [
        [*map(_warned, row[:-2]), row[-2], _warned(row[-1])] for row in body
    ]  # how many were tested is no finding
    return table(heads, marked) + paragraph(note) + _shared_texts(shared)


def _warned(count: Cell) -> Cell:
    """A number of rows that should be none, set off where there are some."""
    return Raw(f'<b class="warn">{count:,}</b>', is_number=True) if isinstance(count, int) and count else count


def _shared_texts(shared: Sequence[SharedWords] | str) -> str:
    """The texts behind the certificate's counts, each beside what it shares words with."""
    if isinstance(shared, str):
        return empty(f"Which texts share words is not known: {shared}")
    body = [
        [
            code(one.set_name),
            one.num_rows,
            Raw(escape(one.text)),
            code(one.item),
            Raw(escape(one.item_text or "")),
            f"{one.share:.2f}",
        ]
        for one in shared
    ]
    heads = ["set", "rows", "text", "shares words with", "its text", "share of the words"]
    return ("<h3>Texts that share words</h3>" + table(heads, body)) if body else ""


def _shared_words(name: str, by_words: Sequence[Mapping[str, object]]) -> list[int | None]:
    """Rows of a set that were tested against texts, and those that share words with one; the worst of all lists."""
    of_set = [words["sets"][name] for words in by_words if name in words["sets"]]
    if not of_set:
        return [None, None]
    return [max(of["num_tested"] for of in of_set), max(of["num_contaminated"] for of in of_set)]


def pairs(material: Material) -> str:
    lengths = material.facts.rows["pair_lengths"]
    if not lengths:
        return empty("No preference pair was mined on this night.")
    body = [
        [row["kind"], row["num_pairs"], f"{row['chosen_chars']:.0f}", f"{row['rejected_chars']:.0f}",
         share(row["share_longer"]), share(row["share_ties"]),
         *(f"{row[name]:.2f}" for name in ("margin_p10", "margin_p50", "margin_p90"))]
        for row in lengths
    ]  # fmt: skip
    heads = [
        "kind",
        "pairs",
        "chosen, characters",
        "rejected",
        "chosen longer, of unequal",
        "equally long",
        "margin 10 %",
        "50 %",
        "90 %",
    ]
    out = table(heads, body)
    margins = [row for row in material.facts.rows["night_pair_margins"] if row["margin_from"] is not None]
    pictures = []
    for colour, kind in zip((BLUE, PURPLE, GREEN, ORANGE), [row["kind"] for row in lengths], strict=False):
        of_kind = [row for row in margins if row["kind"] == kind]
        if of_kind:
            points = [
                Point(row["margin_from"] + 0.05, row["num_pairs"], note=f"{row['num_pairs']:,} pairs")
                for row in of_kind
            ]
            low, high = min(row["margin_from"] for row in of_kind), max(row["margin_from"] for row in of_kind) + 0.1
            step = max(1, round((high - low) * 10 / 5)) / 10
            ticks = [
                (low + part * step, f"{low + part * step:.1f}") for part in range(int((high - low) / step + 1e-9) + 1)
            ]
            frame = Frame(Axis(low, high, ticks, "margin"), nice_axis([point.y for point in points], "pairs"), 360, 210)
            pictures.append(
                figure(plot(frame, [Series(kind, points, colour, bar_width=0.09)], kind), f"Margins: {kind}")
            )
    return out + side_by_side(*pictures)
