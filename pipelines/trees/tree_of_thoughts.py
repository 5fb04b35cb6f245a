"""Tree of Thoughts search logs (arXiv 2305.10601): the game of 24 by breadth, mini crosswords by depth.

Game of 24: each level proposes candidates below the beam, values each by three votes (sure 20, likely 1, impossible
0.001) and keeps five. `raw_value` is the sum of the votes over its greatest possible 60. The final outputs are the
simulations: a node's `visit_count` is how many of them pass through it, its `value` the share of those that are right.

Crosswords: each visited state is one simulation whose return is the share of right words in it; `visit_count` and
`value` are over the states at or below a node, `raw_value` is the state's own share. The clues are not in the log.
"""

from collections.abc import Mapping

from pipelines.trees.fields import (
    Place,
    integer_in,
    list_in,
    number_in,
    objects_in,
    text_in,
    texts_in,
    valid_number,
)
from pipelines.trees.grown import FileTree

MAX_VOTES = 60.0  # three votes of at most 20
ANSWER = "Answer:"


def read_game24(row: Mapping, place: Place) -> FileTree:
    """One puzzle's breadth-first search. A candidate proposed twice at a level is one node (the log values it once)."""
    puzzle = text_in(row, "puzzle", place)
    tree = FileTree(f"Use each of the numbers {puzzle} once, with + - * /, to make 24.", "24", None)
    index_of = {"": 0}
    for level, where in objects_in(row, "steps", place):
        _add_level(tree, index_of, level, where)
    for node in tree.nodes:
        node.visit_count = 0
        node.is_terminal = node.step_text.startswith(ANSWER)
    outputs, infos = texts_in(row, "ys", place), objects_in(row, "infos", place)
    if len(outputs) != len(infos):
        raise (place / "infos").wrong(len(infos), f"a list as long as `ys`, {len(outputs)}")
    for number, (output, (info, where)) in enumerate(zip(outputs, infos, strict=True)):
        if output not in index_of:
            raise (place / "ys" / number).wrong(output, "one of the candidates in `steps`")
        _count_output(tree, index_of[output], number_in(info, "r", where, 0, 1), where)
    for node in tree.nodes:
        node.value = node.value / node.visit_count if node.visit_count else None
    return tree


def _add_level(tree: FileTree, index_of: dict[str, int], level: Mapping, place: Place) -> None:
    beam, candidates, votes = (
        texts_in(level, "ys", place), texts_in(level, "new_ys", place), list_in(level, "values", place),
    )  # fmt: skip
    if len(candidates) != len(votes):
        raise (place / "values").wrong(len(votes), f"a list as long as `new_ys`, {len(candidates)}")
    for number, (candidate, vote) in enumerate(zip(candidates, votes, strict=True)):
        raw_value = valid_number(vote, place / "values" / number, 0, MAX_VOTES) / MAX_VOTES
        if candidate in index_of:
            tree.num_merged += 1
            continue
        parents = [text for text in beam if text in index_of and candidate.startswith(text)]
        if not parents:
            raise (place / "new_ys" / number).wrong(candidate, "a continuation of one of the texts in `ys`")
        parent = max(parents, key=len)
        index = tree.add(index_of[parent], candidate[len(parent) :].strip())
        tree.nodes[index].raw_value = raw_value
        index_of[candidate] = index


def _count_output(tree: FileTree, index: int, reward: float, place: Place) -> None:
    """Counts a final output; `value` holds the sum of rewards until all are counted."""
    if reward not in (0.0, 1.0):
        raise (place / "r").wrong(reward, "0 (wrong) or 1 (right)")
    for node in tree.from_node_to_root(index):
        node.visit_count += 1
        node.value = (node.value or 0.0) + reward
    tree.nodes[index].is_terminal = True
    tree.nodes[index].outcome_reward = reward


def read_crosswords(row: Mapping, place: Place) -> FileTree:
    """One puzzle's depth-first search: `trace` holds the visited states, each by the actions that lead to it."""
    number = integer_in(row, "idx", place)
    tree = FileTree(
        f"Solve mini crossword {number}: 5 by 5 letters, ten words (its clues are not in the log).", None, None
    )
    index_of: dict[tuple[str, ...], int] = {(): 0}
    for state, where in objects_in(row, "trace", place):
        actions = tuple(texts_in(state, "actions", where))
        if not actions or actions[:-1] not in index_of:
            right = "an action after those of an earlier state" if actions else "at least one action"
            raise (where / "actions").wrong(list(actions), right)
        if actions in index_of:
            tree.num_merged += 1
            continue
        index_of[actions] = tree.add(index_of[actions[:-1]], actions[-1].strip())
        _set_share(tree, index_of[actions], state, where)
    _back_up_shares(tree)
    return tree


def _set_share(tree: FileTree, index: int, state: Mapping, place: Place) -> None:
    info = state.get("info")
    if not isinstance(info, dict):
        raise (place / "info").wrong(info, "an object with `r_word`, the share of right words")
    tree.nodes[index].raw_value = number_in(info, "r_word", place / "info", 0, 1)


def _back_up_shares(tree: FileTree) -> None:
    """Visits and values from the states at and below each node; a leaf with all words right is a solution."""
    inner = tree.has_children()
    for node in tree.nodes:
        node.visit_count, node.value = 0, 0.0
    for index, node in enumerate(tree.nodes[1:], start=1):
        for above in tree.from_node_to_root(index):
            above.visit_count += 1
            above.value += node.raw_value
        if node.raw_value == 1.0 and index not in inner:
            node.is_terminal, node.outcome_reward = True, 1.0
    for node in tree.nodes:
        node.value = min(1.0, node.value / node.visit_count) if node.visit_count else None
