-- Whole root-to-end paths of search trees as answers that can meet each other.
--
-- what:   score = mean value of the path's nodes, the root left out. The tree is the group.
-- in:     tree_nodes
-- params: $separator
-- out:    responses, one row per graded end
-- note:   a path whose root is missing is none. Documents that were found are part of the text.

with recursive

ways_up as (
    select
        tree_id,
        node_id as leaf,
        outcome_reward,
        parent_id as node_id,
        concat(step_text, $separator) as response,
        [step_text] as steps,
        [value] as step_values
    from tree_nodes
    where parent_id is not null and outcome_reward in (0.0, 1.0)
    union all
    select
        ways_up.tree_id,
        ways_up.leaf,
        ways_up.outcome_reward,
        node.parent_id as node_id,
        concat(node.step_text, $separator, ways_up.response) as response,
        list_prepend(node.step_text, ways_up.steps) as steps,
        list_prepend(node.value, ways_up.step_values) as step_values
    from ways_up
    inner join tree_nodes as node on node.tree_id = ways_up.tree_id and node.node_id = ways_up.node_id
    where node.parent_id is not null
)

select
    root.problem_id,
    ways_up.tree_id as group_id,
    concat(ways_up.tree_id, ':', ways_up.leaf) as response_id,
    concat(root.prompt, if(root.prompt is null, '', $separator)) as prompt,
    ways_up.response,
    ways_up.steps,
    ways_up.outcome_reward,
    round(list_avg(ways_up.step_values), 9) as score,
    root.policy
from ways_up
inner join tree_nodes as root
    on root.tree_id = ways_up.tree_id and root.node_id = ways_up.node_id and root.parent_id is null
