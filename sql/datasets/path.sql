-- The nodes from the root of a tree to one of its nodes.
--
-- in:     search_nodes
-- params: $tree_id, $node_id, $night
-- out:    one row per node, the root first
-- note:   the tree is read once; its Bloom filter leaves few row groups to read.

with recursive

tree as materialized (
    select
        tree_id, node_id, parent_id, problem_id, depth, action, step_text, prior, visit_count, value, raw_value,
        outcome_reward, request_id, night
    from search_nodes
    where tree_id = $tree_id and night = $night
),

path as (
    select tree.* from tree where tree.node_id = $node_id
    union all
    select parent.* from path join tree as parent on parent.node_id = path.parent_id
)

select
    tree_id, node_id, parent_id, problem_id, depth, action, step_text, prior, visit_count, value, raw_value,
    outcome_reward, request_id, night
from path
order by depth, node_id
