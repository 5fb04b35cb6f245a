"""`reasonmill tree` and `reasonmill import-trees`: look at search trees, and read those of other projects."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.lake import Lake
    from pipelines.trees.files import ImportedTrees
    from pipelines.trees.view import Row

LIST = "list"
NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]+")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")  # not a date, so that no night is replaced
TABLES = ("problems", "search_nodes", "search_edges")
IMPORTED_FROM = "imported_from"  # key in the manifests' lineage


def tree(
    tree_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="the tree's id or its beginning; list, or none, shows some")
    ] = None,
    night: Annotated[str | None, typer.Option(help="only trees of this night, or of this import")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="write a page for the browser instead")] = None,
    depth: Annotated[int, typer.Option(min=1, help="steps from the root that are drawn")] = 12,
    children: Annotated[int, typer.Option(min=1, help="children of a node that are drawn, most visited first")] = 6,
    nodes: Annotated[int, typer.Option(min=1, help="nodes that are drawn in all")] = 120,
) -> None:
    """Draw a search tree: visits, values, outcomes, kept pairs, first wrong steps."""
    from rich.console import Console

    from pipelines.config import load_settings
    from pipelines.errors import ReasonmillError
    from pipelines.lake import Lake
    from pipelines.trees.find import find_tree, list_trees, load_view, write_page
    from pipelines.warehouse import Warehouse
    from reasonmill.cli.tree_text import Cut, tree_lines

    console = Console(highlight=False)
    is_list = tree_id in (None, "", LIST)
    if is_list and html is not None:
        raise ReasonmillError("--html shows one tree: name it, such as reasonmill tree 3f9c --html tree.html.")
    with Warehouse(Lake(load_settings().lake_url)) as warehouse:
        if is_list:
            _print_list(console, list_trees(warehouse, night, max_trees=20), night)
            return
        view = load_view(warehouse, find_tree(warehouse, tree_id, night))
    if html is not None:
        console.print(f"Wrote {write_page(view, html)}", markup=False, soft_wrap=True)
        return
    for line in tree_lines(view, console.width, Cut(depth, children, nodes)):
        console.print(line, soft_wrap=line.no_wrap)


def _print_list(console: "Console", rows: "list[Row]", night: str | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from pipelines.trees.view import one_line

    if not rows:
        where = f" of {night}" if night else ""
        console.print(
            f"There is no tree{where} in the lake yet; `reasonmill demo` grows some, and `reasonmill import-trees` "
            "reads those of other projects.",
            markup=False,
        )
        return
    table = Table(box=None, pad_edge=False)
    for name in ("tree", "night"):
        table.add_column(name, no_wrap=True)
    for name in ("nodes", "depth", "visits", "right", "wrong", "value"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("problem")
    for row in rows:
        numbers = [row[key] for key in ("num_nodes", "max_depth", "num_visits", "num_right", "num_wrong")]
        value = "–" if row["root_value"] is None else f"{row['root_value']:.2f}"
        cells = ["–" if number is None else f"{number:,}" for number in numbers]
        problem = Text(one_line(row["prompt"] or row["problem_id"]), no_wrap=True, overflow="ellipsis")
        table.add_row(row["tree_id"], row["night"], *cells, value, problem)
    console.print(table)
    console.print(
        "Most mixed outcomes first, then the largest. Draw one: reasonmill tree ID (its beginning is enough)."
    )


def import_trees(
    file: Annotated[
        Path, typer.Argument(help="JSON Lines of OmegaPRM trees or Tree of Thoughts logs; .gz is unpacked")
    ],
    name: Annotated[
        str | None, typer.Option(help="name of the lake partition and problem family; default: import-<file>")
    ] = None,
) -> None:
    """Read other projects' search trees into a partition of their own; an import of the same name is replaced."""
    from rich.console import Console

    from pipelines.config import load_settings
    from pipelines.errors import ReasonmillError
    from pipelines.lake import Lake
    from pipelines.trees.files import read_trees

    chosen = name or f"import-{NOT_IN_A_NAME.sub('_', file.name.partition('.')[0])}"
    if not NAME.fullmatch(chosen) or chosen == "all":
        raise ReasonmillError(
            f"--name is {chosen!r}, but must begin with a letter, go on with letters, digits, _ or -, and not be `all`."
        )
    settings = load_settings()
    imported = read_trees(file, chosen, settings.problems.held_out_fraction)
    _write(Lake(settings.lake_url), imported, chosen, file.name)
    merged = f" ({imported.num_merged:,} repeated ones merged)" if imported.num_merged else ""
    Console(highlight=False).print(
        f"Trees: {imported.num_trees:,}, nodes: {imported.search_nodes.num_rows:,}{merged}, "
        f"problems: {imported.problems.num_rows:,}; they are now the partition {chosen} of {', '.join(TABLES)}.\n"
        f"Look at them: reasonmill tree list --night {chosen}",
        markup=False,
        soft_wrap=True,
    )


def _write(lake: "Lake", imported: "ImportedTrees", name: str, source: str) -> None:
    """One partition of three tables, problems first; LakeError where a partition of that name is not an import."""
    from pipelines.errors import LakeError

    for table in TABLES:
        manifest = lake.manifest(table, name)
        if manifest is not None and IMPORTED_FROM not in manifest.lineage:
            raise LakeError(f"The partition {table}/{name} exists and is not an import; choose another --name.")
    known = {
        problem_id
        for partition in lake.partitions("problems")
        if partition != name
        for problem_id in lake.read("problems", partition, ["problem_id"])["problem_id"].to_pylist()
    }
    if both := known & set(imported.problems["problem_id"].to_pylist()):
        raise LakeError(f"The problem {min(both)} is in the lake already, as one of your own; choose another --name.")
    for table in TABLES:
        lake.write(table, getattr(imported, table), partition=name, lineage={IMPORTED_FROM: source})
