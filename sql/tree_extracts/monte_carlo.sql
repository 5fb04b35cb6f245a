-- node_values of the methods `completions` and `monte_carlo`: the share of graded completions that were right.
--
-- what:   completions  graded completions that started at the node itself, drawn by the policy alone: the soft label of
--                      Math-Shepherd (arXiv 2312.08935), value = num_right / num_completions
--         monte_carlo  the same over the node and everything below it, each completion once: more evidence, though the
--                      search chose where to look (the step value of this project)
--         low and high are Wilson's score interval (1927) at 95 %, z = 1.959964, for p = value and n = num_completions:
--             (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
-- in:     search_nodes, search_edges
-- params: $night
-- out:    one row per node with at least one graded completion, and method
-- note:   a graded terminal counts as the completions that ended there, one or more (equal samples are one leaf), a
--         critic's estimate (num_samples 0) as none. Below a node is what its edges lead to, merged ones of search_edges
--         included; an edge to a node that is not deeper is left out, so that no walk is endless. The interval takes the completions for independent; those of `monte_carlo` are not
--         quite, since they share steps.

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

evidence as (
    select
        tree_id,
        node_id,
        problem_id,
        coalesce(is_terminal, false) and outcome_reward is not null as is_graded,
        if(is_graded, greatest(1, coalesce(num_samples, 0)), coalesce(num_samples, 0)) as num_completions,
        round(if(is_graded, outcome_reward * num_completions, coalesce(raw_value * num_samples, 0)))::bigint
            as num_right
    from search_nodes
),

ways_up as (
    select tree_id, node_id as origin, node_id, num_right, num_completions
    from evidence
    where num_completions > 0
    union all
    select ways_up.tree_id, ways_up.origin, edges.from_node as node_id, ways_up.num_right, ways_up.num_completions
    from ways_up
    inner join edges on edges.tree_id = ways_up.tree_id and edges.to_node = ways_up.node_id
),

reached as (
    select distinct tree_id, node_id, origin, num_right, num_completions
    from ways_up
),

subtrees as (
    select
        tree_id,
        node_id,
        sum(num_right)::bigint as num_right,
        sum(num_completions)::bigint as num_completions
    from reached
    group by tree_id, node_id
),

counts as (
    select tree_id, node_id, problem_id, 'completions' as method, num_right, num_completions
    from evidence
    where num_completions > 0
    union all
    select tree_id, node_id, evidence.problem_id, 'monte_carlo', subtrees.num_right, subtrees.num_completions
    from subtrees
    inner join evidence using (tree_id, node_id)
),

intervals as (
    select
        *,
        1.959964 as z,
        num_right / num_completions as p,
        1 + z * z / num_completions as divisor,
        (p + z * z / (2 * num_completions)) / divisor as centre,
        z * sqrt(p * (1 - p) / num_completions + z * z / (4 * num_completions * num_completions)) / divisor as reach
    from counts
)

select
    tree_id,
    node_id,
    problem_id,
    method,
    p as value,
    greatest(0.0, round(centre - reach, 12)) as low,
    least(1.0, round(centre + reach, 12)) as high,
    num_right,
    num_completions,
    null::double[] as quantiles,
    null::double as step_reward,
    null::bigint as num_steps_left,
    $night::varchar as night
from intervals
order by tree_id, node_id, method
