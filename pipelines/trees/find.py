"""Finds trees in a warehouse and makes their views and pages."""

from pathlib import Path

from pipelines.errors import LakeError
from pipelines.trees.page import to_html
from pipelines.trees.view import Row, TreeView, build_view
from pipelines.warehouse import Warehouse

MAX_NAMED = 4  # ids that an error names


def list_trees(warehouse: Warehouse, night: str | None = None, prefix: str = "", max_trees: int = 20) -> list[Row]:
    """Rows of `sql/trees/trees`: trees whose id starts with `prefix`, most mixed and largest first."""
    return warehouse.named("trees/trees", prefix=prefix, night=night, max_trees=max_trees).to_pylist()


def find_tree(warehouse: Warehouse, tree_id: str, night: str | None = None) -> Row:
    """The one tree of that id, or of that beginning of an id; LakeError where there is none or more than one."""
    found = list_trees(warehouse, night, tree_id, MAX_NAMED + 1)
    whole = [row for row in found if row["tree_id"] == tree_id]
    chosen = whole or found
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise LakeError(_ambiguous(tree_id, chosen))
    raise LakeError(_unknown(warehouse, tree_id, night))


def load_view(warehouse: Warehouse, head: Row) -> TreeView:
    """The view of a tree that `list_trees` or `find_tree` gave."""
    key = {"tree_id": head["tree_id"], "night": head["night"]}
    nodes, pairs, errors = (
        warehouse.named(f"trees/{name}", **key).to_pylist() for name in ("nodes", "pairs", "first_errors")
    )
    return build_view(head, nodes, pairs, errors)


def write_pages(warehouse: Warehouse, night: str, folder: Path, max_trees: int) -> list[Path]:
    """Writes the pages of a night's most mixed and largest trees, `tree_1.html` the first; earlier ones go away."""
    heads = list_trees(warehouse, night, max_trees=max_trees)
    for number in range(len(heads) + 1, max_trees + 1):
        _page_path(folder, number).unlink(missing_ok=True)
    views = [load_view(warehouse, head) for head in heads]
    return [write_page(view, _page_path(folder, number)) for number, view in enumerate(views, start=1)]


def _page_path(folder: Path, number: int) -> Path:
    return folder / f"tree_{number}.html"


def write_page(view: TreeView, path: Path) -> Path:
    """Writes a tree's page, with its folder; LakeError where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_html(view), encoding="utf-8")
    except OSError as error:
        raise LakeError(f"The page {path} could not be written: {error.strerror or error}.") from error
    return path.absolute()


def _ambiguous(tree_id: str, found: list[Row]) -> str:
    names = ", ".join(f"{row['tree_id']} ({row['night']})" for row in found[:MAX_NAMED])
    more = " and more" if len(found) > MAX_NAMED else ""
    is_one_id = len({row["tree_id"] for row in found}) == 1
    advice = "Choose one with --night." if is_one_id else "Give more of the id."
    return f"The tree id {tree_id!r} fits several trees: {names}{more}. {advice}"


def _unknown(warehouse: Warehouse, tree_id: str, night: str | None) -> str:
    where = f" of {night}" if night else ""
    near = warehouse.named("trees/near", tree_id=tree_id, night=night, max_trees=MAX_NAMED)["tree_id"].to_pylist()
    if not near:
        return (
            f"There is no tree{where} in the lake; `reasonmill materialize --select rollouts` grows some, and "
            "`reasonmill import-trees` reads those of other projects."
        )
    return (
        f"There is no tree{where} whose id is or begins with {tree_id!r}. The nearest are {', '.join(near)}; "
        "`reasonmill tree list` shows more."
    )
