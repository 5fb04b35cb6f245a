-- node_values of the method `td_lambda`: lambda-returns over the tree, as targets for a value model.
--
-- what:   G(s) = mean over the valued children c of s of  (1 - lambda) V(c) + lambda G(c)
--         (Sutton and Barto, 2nd ed., section 12.1, without discount and with rewards at the end only; the expectation
--         over the next step is the mean over the steps that the policy proposed, as in a tree backup.)
--         V is the evaluator's estimate of a step (raw_value; where that is null the mean return), at a terminal its
--         grade. A valued node without valued children ends the sum: G = V (truncated return, section 12.3).
--         lambda = 0 is one-step TD: the children's mean V. lambda = 1 reads the ends of the tree alone, every child
--         with an equal share.
-- in:     search_nodes, search_edges
-- params: $td_lambda in [0, 1], $night
-- out:    one row per node that has a valued child, and per graded terminal (value = its grade)
-- note:   nodes that nobody valued, and what lies below them, are unknown and take no part. G is summed as the V below
--         s, each with its share of the way there, so no node needs its children's G first. Edges as in monte_carlo.

with recursive

edges as (
    select search_edges.tree_id, search_edges.from_node, search_edges.to_node
    from search_edges
    inner join search_nodes as origin
        on origin.tree_id = search_edges.tree_id and origin.node_id = search_edges.from_node
    inner join search_nodes as target
        on target.tree_id = search_edges.tree_id and target.node_id = search_edges.to_node
    where target.depth > origin.depth
    union
    select tree_id, parent_id as from_node, node_id as to_node
    from search_nodes
    where parent_id is not null
),

estimates as (
    select
        tree_id,
        node_id,
        problem_id,
        coalesce(is_terminal, false) and outcome_reward is not null as is_graded,
        if(coalesce(is_terminal, false), outcome_reward, coalesce(raw_value, value)) as estimate
    from search_nodes
),

links as (
    select
        edges.tree_id,
        edges.from_node,
        edges.to_node,
        estimates.estimate,
        1.0::double / count(*) over (partition by edges.tree_id, edges.from_node) as share
    from edges
    inner join estimates on estimates.tree_id = edges.tree_id and estimates.node_id = edges.to_node
    where estimates.estimate is not null
),

inner_nodes as (
    select distinct tree_id, from_node as node_id
    from links
),

returns as (
    select
        links.tree_id,
        links.from_node as node_id,
        links.share * links.estimate * if(inner_nodes.node_id is null, 1.0, 1.0 - $td_lambda)::double as part
    from links
    left join inner_nodes on inner_nodes.tree_id = links.tree_id and inner_nodes.node_id = links.to_node
    union all
    select returns.tree_id, links.from_node as node_id, (returns.part * links.share * $td_lambda)::double as part
    from returns
    inner join links on links.tree_id = returns.tree_id and links.to_node = returns.node_id
),

targets as (
    select tree_id, node_id, fsum(part) as target
    from returns
    group by tree_id, node_id
    union all
    select tree_id, node_id, estimate
    from estimates
    where is_graded
)

select
    tree_id,
    node_id,
    estimates.problem_id,
    'td_lambda' as method,
    least(1.0, greatest(0.0, round(targets.target, 12))) as value,
    null::double as low,
    null::double as high,
    null::bigint as num_right,
    null::bigint as num_completions,
    null::double[] as quantiles,
    null::double as step_reward,
    null::bigint as num_steps_left,
    $night::varchar as night
from targets
inner join estimates using (tree_id, node_id)
order by tree_id, node_id
