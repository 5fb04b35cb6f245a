-- node_values of the method `rest_mcts`: quality values and process rewards as ReST-MCTS* infers them from a tree.
--
-- what:   Along a path v_0 = 0 at the root and (ReST-MCTS*, arXiv 2406.03816)
--             w_k = (1 - v_{k-1}) / (m_k + 1) * (1 - 2 r_k)        step_reward, in [-1, 1]
--             v_k = max(v_{k-1} + w_k, 0)                          value, in [0, 1]; 1 exactly at a right answer
--         r_k = 0 where some graded terminal below the step (itself included) is right, else 1.
--         m_k is num_steps_left: the fewest further steps from the step to a right answer, 0 at a right answer. A step
--         without a right answer below takes the m of its nearest ancestor that has one, as the authors' code does.
-- in:     search_nodes
-- params: $night
-- out:    one row per step that leads to a graded terminal, in trees with a right answer
-- note:   the root is no step and has no row. Trees without a right answer have none either: nothing is known of the
--         distance. A path follows parent_id, so a merged step has the value of the path that found it first.

with recursive

ends as (
    select tree_id, node_id, outcome_reward = 1.0 as is_right
    from search_nodes
    where is_terminal and outcome_reward in (0.0, 1.0)
),

ways_up as (
    select tree_id, node_id, is_right, 0::bigint as num_steps
    from ends
    union
    select ways_up.tree_id, node.parent_id as node_id, ways_up.is_right, ways_up.num_steps + 1 as num_steps
    from ways_up
    inner join search_nodes as node on node.tree_id = ways_up.tree_id and node.node_id = ways_up.node_id
    where node.parent_id is not null
),

ended as (
    select
        node.tree_id,
        node.node_id,
        node.parent_id,
        node.problem_id,
        min(ways_up.num_steps) filter (where ways_up.is_right) as num_steps_left
    from ways_up
    inner join search_nodes as node on node.tree_id = ways_up.tree_id and node.node_id = ways_up.node_id
    group by node.tree_id, node.node_id, node.parent_id, node.problem_id
),

quality as (
    select
        tree_id,
        node_id,
        problem_id,
        num_steps_left,
        null::double as step_reward,
        0.0::double as value
    from ended
    where parent_id is null and num_steps_left is not null
    union all
    select
        child.tree_id,
        child.node_id,
        child.problem_id,
        coalesce(child.num_steps_left, parent.num_steps_left) as num_steps_left,
        (1.0 - parent.value) / (coalesce(child.num_steps_left, parent.num_steps_left) + 1)
        * if(child.num_steps_left is null, -1.0, 1.0) as step_reward,
        greatest(
            0.0,
            parent.value + (1.0 - parent.value) / (coalesce(child.num_steps_left, parent.num_steps_left) + 1)
            * if(child.num_steps_left is null, -1.0, 1.0)
        ) as value
    from quality as parent
    inner join ended as child on child.tree_id = parent.tree_id and child.parent_id = parent.node_id
)

select
    tree_id,
    node_id,
    problem_id,
    'rest_mcts' as method,
    least(1.0, round(value, 12)) as value,
    null::double as low,
    null::double as high,
    null::bigint as num_right,
    null::bigint as num_completions,
    null::double[] as quantiles,
    round(step_reward, 12) as step_reward,
    num_steps_left,
    $night::varchar as night
from quality
where step_reward is not null
order by tree_id, node_id
