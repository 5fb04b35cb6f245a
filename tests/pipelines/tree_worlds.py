"""A tree small enough to draw by hand, with a kept pair, a first wrong step and a merged state."""

from pipelines.trees.view import TreeView, build_view

HEAD = {"tree_id": "abc123", "night": "2026-01-02", "problem_id": "p1", "prompt": "2+3*4", "reference_answer": "20",
        "recipe": "puct", "policy_id": "tiny"}  # fmt: skip
NODES = [
    {"node_id": 0, "parent_id": None, "step_text": "", "visit_count": 8, "value": 0.5},
    {"node_id": 1, "parent_id": 0, "step_text": "2+3=6", "visit_count": 2, "value": 0.0},
    {"node_id": 2, "parent_id": 0, "step_text": "2+3=5", "visit_count": 6, "value": 0.75, "raw_value": 0.5},
    {"node_id": 3, "parent_id": 2, "step_text": "#### 20", "visit_count": 4, "value": 1.0, "is_terminal": True,
     "outcome_reward": 1.0, "other_parents": [1]},
    {"node_id": 4, "parent_id": 2, "step_text": "5*4=21", "visit_count": 0, "raw_value": 0.25},
    {"node_id": 5, "parent_id": 1, "step_text": "#### 24", "visit_count": 1, "value": 0.0, "is_terminal": True,
     "outcome_reward": 0.0},
    {"node_id": 6, "parent_id": 4, "step_text": "#### 21", "visit_count": 0, "is_terminal": True},
]  # fmt: skip
PAIRS = [{"chosen_node": 2, "rejected_node": 1, "margin": 0.75}, {"chosen_node": 3, "rejected_node": None, "margin": 1}]
FIRST_ERRORS = [{"leaf_node_id": 5, "first_wrong_step": 0}, {"leaf_node_id": 6, "first_wrong_step": 1}]


def small_view(**changes: object) -> TreeView:
    """The small tree; `changes` replace values of its head."""
    return build_view({**HEAD, **changes}, NODES, PAIRS, FIRST_ERRORS)


def chain_view(length: int) -> TreeView:
    """A tree without branches and without known visits, `length` steps deep."""
    rows = [{"node_id": i, "parent_id": i - 1 if i else None, "step_text": f"s{i}"} for i in range(length + 1)]
    return build_view(HEAD, rows)


def fan_view(num_children: int, text: str = "s") -> TreeView:
    """A root with many children, all visited once."""
    rows = [{"node_id": 0, "parent_id": None, "visit_count": num_children, "value": 0.0}]
    rows += [
        {"node_id": i, "parent_id": 0, "step_text": text, "visit_count": 1, "value": 0.0}
        for i in range(1, num_children + 1)
    ]
    return build_view(HEAD, rows)
