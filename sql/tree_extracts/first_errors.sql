-- first_errors: the first step of a wrong tree rollout after which no evaluated continuation was right.
--
-- what:   Along the rollout the prefix of k steps has MC(k) = right / graded completions from it and all below it. The
--         first error is the first step k with MC(k) = 0 and MC(k - 1) > 0: the place that OmegaPRM finds by binary
--         search (arXiv 2406.06592), read off the completions that the tree has already. confidence is the chance that
--         a step as good as its parent would have shown a right completion in the n that followed it,
--             1 - (1 - MC(k - 1))^n
--         and 1 for a last step, whose own grade is certain.
-- in:     rollouts (of trees), search_nodes, node_values (monte_carlo)
-- params: $min_completions (graded after the wrong step; a last step needs none but its own), $night
-- out:    one row per finished wrong tree rollout whose problem was solved at least once in its tree
-- note:   finished = finish_reason 'stop' and no error. Where not even the root has a right completion the error may be
--         anywhere or nowhere, and there is no row. step counts from 0, so it is the node's depth less one.

with recursive

path_nodes as (
    select rollout_id, tree_id, leaf_node_id as node_id
    from rollouts
    where error is null
        and finish_reason = 'stop'
        and outcome_reward = 0.0
        and tree_id is not null
        and leaf_node_id is not null
    union all
    select path_nodes.rollout_id, path_nodes.tree_id, node.parent_id as node_id
    from path_nodes
    inner join search_nodes as node on node.tree_id = path_nodes.tree_id and node.node_id = path_nodes.node_id
    where node.parent_id is not null
),

counted as (
    select
        path_nodes.rollout_id,
        node.tree_id,
        node.node_id,
        node.problem_id,
        node.depth,
        coalesce(node.is_terminal, false) as is_terminal,
        node_values.value,
        node_values.num_right,
        node_values.num_completions
    from path_nodes
    inner join search_nodes as node on node.tree_id = path_nodes.tree_id and node.node_id = path_nodes.node_id
    inner join node_values
        on node_values.tree_id = path_nodes.tree_id
        and node_values.node_id = path_nodes.node_id
        and node_values.method = 'monte_carlo'
),

hopeless as (
    select *
    from counted
    where num_right = 0
    qualify row_number() over (partition by rollout_id order by depth) = 1
)

select
    hopeless.rollout_id,
    hopeless.problem_id,
    hopeless.tree_id,
    hopeless.depth - 1 as step,
    hopeless.node_id,
    before.node_id as last_good_node_id,
    before.num_right as num_right_before,
    before.num_completions as num_completions_before,
    hopeless.num_completions as num_completions_after,
    if(hopeless.is_terminal, 1.0, round(1.0 - power(1.0 - before.value, hopeless.num_completions), 12)) as confidence,
    $night::varchar as night
from hopeless
inner join counted as before on before.rollout_id = hopeless.rollout_id and before.depth = hopeless.depth - 1
where before.num_right > 0 and (hopeless.is_terminal or hopeless.num_completions >= $min_completions)
order by hopeless.rollout_id
