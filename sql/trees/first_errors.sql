-- The first wrong step of the rollouts of one tree: by the starter generator's own rules, or, where there are no gold
-- steps of the tree, as the tree's own completions have it.
--
-- in:     gold_steps, first_errors, rollouts, search_nodes
-- params: $tree_id, $night
-- out:    one row per rollout with a wrong step: its leaf, the step's index from 0, and which of the two says so
--         (source: gold_steps or first_errors, the same for all rows)
-- note:   a node that is a whole answer has no nodes for its steps, so its rollouts have no row.

with paths as (
    select rollouts.rollout_id, rollouts.leaf_node_id
    from rollouts
    join search_nodes as leaves
        on leaves.tree_id = rollouts.tree_id and leaves.night = rollouts.night
        and leaves.node_id = rollouts.leaf_node_id
    where rollouts.tree_id = $tree_id and rollouts.night = $night and leaves.node_kind is distinct from 'answer'
),

by_rules as (
    select paths.rollout_id, paths.leaf_node_id, gold_steps.step, gold_steps.is_right
    from paths
    join gold_steps on gold_steps.rollout_id = paths.rollout_id and gold_steps.night = $night
),

wrong_by_rules as (
    select leaf_node_id, min(step) as first_wrong_step, 'gold_steps' as source
    from by_rules
    where not is_right
    group by rollout_id, leaf_node_id
),

wrong_by_completions as (
    select paths.leaf_node_id, first_errors.step as first_wrong_step, 'first_errors' as source
    from paths
    join first_errors
        on first_errors.rollout_id = paths.rollout_id and first_errors.tree_id = $tree_id
        and first_errors.night = $night
    where not exists (select 1 from by_rules)
)

select leaf_node_id, first_wrong_step, source from wrong_by_rules
union all
select leaf_node_id, first_wrong_step, source from wrong_by_completions
order by leaf_node_id
