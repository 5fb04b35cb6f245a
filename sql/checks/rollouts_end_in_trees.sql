-- Rollouts whose origin does not exist: tree rollouts without their leaf, rows that are neither of a tree nor a group.
--
-- in:  rollouts, search_nodes
-- out: offending rows (table_name, row_id, night, what), one per rollout
-- note: a failed rollout need not have a leaf; independent samples have a group and no tree, tree rollouts the reverse.

select
    'rollouts' as table_name,
    rollouts.rollout_id as row_id,
    rollouts.night,
    case
        when rollouts.recipe = 'independent_samples' and rollouts.tree_id is not null then 'a sample that names a tree'
        when rollouts.recipe = 'independent_samples' and rollouts.group_id is null then 'a sample without a group'
        when rollouts.recipe = 'independent_samples' then null
        when rollouts.group_id is not null then 'a tree rollout that names a group'
        when rollouts.error is not null then null
        when rollouts.tree_id is null then 'a tree rollout that names no tree'
        when leaves.node_id is null then concat('leaf ', rollouts.leaf_node_id, ' does not exist')
        when leaves.problem_id <> rollouts.problem_id then 'the leaf belongs to problem ' || leaves.problem_id
    end as what
from rollouts
left join search_nodes as leaves on leaves.tree_id = rollouts.tree_id and leaves.node_id = rollouts.leaf_node_id
where what is not null
order by row_id
