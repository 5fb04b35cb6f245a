-- Critiques from search trees: where one node has a good and a bad child, the good one says what is wrong with the bad
-- one
-- (MMC's discrepancies, told by a rule in place of an annotating model).
--
-- what:   of every node whose best child is worth at least $min_good and whose worst child at most $max_bad: the
--         solution up to the bad step, and a critique that calls every step before it right and the bad step wrong,
--         with the good step as what should stand there.
-- in:     tree_nodes
-- params: $min_good, $max_bad, $min_visits
-- out:    one row per such node (problem_id, tree_id, prompt, steps, critique, first_error_step, gap, good_id, bad_id),
--         by tree and node
-- note:   children that were never visited, or fewer times than $min_visits, take no part; of equal children the one
--         made first. Steps before the bad one are called right because the good child goes on from them.

with recursive children as (
    select tree_id, node_id, parent_id, step_text, value
    from tree_nodes
    where parent_id is not null
        and step_text is not null
        and isfinite(value)
        and visit_count >= greatest($min_visits, 1)
),

best as (
    select *
    from children
    qualify row_number() over (partition by tree_id, parent_id order by value desc, node_id) = 1
),

worst as (
    select *
    from children
    qualify row_number() over (partition by tree_id, parent_id order by value, node_id) = 1
),

splits as (
    select
        best.tree_id,
        best.parent_id,
        best.node_id as good_node,
        worst.node_id as bad_node,
        best.step_text as good_step,
        worst.step_text as bad_step,
        best.value - worst.value as gap
    from best
    inner join worst on worst.tree_id = best.tree_id and worst.parent_id = best.parent_id
    where best.value >= $min_good and worst.value <= $max_bad and best.value > worst.value
        and best.step_text <> worst.step_text
),

paths as (
    select tree_id, parent_id as origin, parent_id as node_id, []::varchar[] as steps
    from splits
    union all
    select paths.tree_id, paths.origin, node.parent_id, list_prepend(node.step_text, paths.steps)
    from paths
    inner join tree_nodes as node on node.tree_id = paths.tree_id and node.node_id = paths.node_id
    where node.parent_id is not null
),

prefixes as (
    select paths.tree_id, paths.origin, paths.steps, root.problem_id, root.prompt
    from paths
    inner join tree_nodes as root
        on root.tree_id = paths.tree_id and root.node_id = paths.node_id and root.parent_id is null
)

select
    prefixes.problem_id,
    splits.tree_id,
    prefixes.prompt,
    list_append(prefixes.steps, splits.bad_step) as steps,
    concat(
        array_to_string(list_transform(range(len(prefixes.steps)), lambda i: concat(i, ' right', chr(10))), ''),
        len(prefixes.steps), ' wrong ', splits.good_step, chr(10), 'verdict ', len(prefixes.steps), chr(10)
    ) as critique,
    len(prefixes.steps) as first_error_step,
    round(splits.gap, 9) as gap,
    concat(splits.tree_id, ':', splits.good_node) as good_id,
    concat(splits.tree_id, ':', splits.bad_node) as bad_id
from splits
inner join prefixes on prefixes.tree_id = splits.tree_id and prefixes.origin = splits.parent_id
order by splits.tree_id, splits.good_node
