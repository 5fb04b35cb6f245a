-- stepwise: root-to-leaf paths with a label per step, in the columns of stepwise supervision.
--
-- what:   A step is labelled right when the Monte Carlo value of its node is above $step_threshold (Math-Shepherd's
--         hard label at 0.0: some completion below it was right). A path ends with its first wrong step, since what
--         follows a wrong step means nothing, and before the first node with fewer than $min_visits visits.
-- in:     problems (training split, `prompt` = the exact policy prompt), rollouts (of trees), search_nodes
-- params: $step_threshold, $min_visits, $night
-- out:    one row per distinct labelled path; soft_labels are the values, visit_counts the evidence behind them
-- note:   paths that agree up to their first wrong step are one path (the one with most visits).

with recursive

steps as (
    select rollouts.rollout_id, rollouts.problem_id, rollouts.tree_id, rollouts.leaf_node_id as node_id
    from rollouts
    inner join problems on problems.problem_id = rollouts.problem_id
    where problems.split = 'train'
        and rollouts.error is null
        and rollouts.tree_id is not null
        and rollouts.leaf_node_id is not null
    union all
    select steps.rollout_id, steps.problem_id, steps.tree_id, node.parent_id as node_id
    from steps
    inner join search_nodes as node on node.tree_id = steps.tree_id and node.node_id = steps.node_id
    where node.parent_id is not null
),

labelled as (
    select
        steps.rollout_id,
        steps.problem_id,
        node.depth,
        node.step_text,
        node.value,
        node.visit_count,
        node.value > $step_threshold as is_right
    from steps
    inner join search_nodes as node on node.tree_id = steps.tree_id and node.node_id = steps.node_id
    where node.parent_id is not null
),

ends as (
    select
        *,
        min(if(value is null or visit_count < $min_visits, depth, null)) over (partition by rollout_id) as first_unknown,
        min(if(not is_right, depth, null)) over (partition by rollout_id) as first_wrong
    from labelled
),

paths as (
    select
        rollout_id,
        problem_id,
        list(step_text order by depth) as completions,
        list(is_right order by depth) as labels,
        list(value order by depth) as soft_labels,
        list(visit_count order by depth) as visit_counts
    from ends
    where (first_unknown is null or depth < first_unknown) and (first_wrong is null or depth <= first_wrong)
    group by rollout_id, problem_id
),

distinct_paths as (
    select *
    from paths
    qualify row_number() over (
        partition by problem_id, completions order by list_sum(visit_counts) desc, rollout_id
    ) = 1
)

select
    problems.prompt,
    path.completions,
    path.labels,
    path.soft_labels,
    path.visit_counts,
    path.problem_id,
    path.rollout_id,
    $night::varchar as night
from distinct_paths as path
inner join problems on problems.problem_id = path.problem_id
order by path.problem_id, path.rollout_id
