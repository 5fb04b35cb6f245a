-- Two steps that were tried from the same prefix of a search tree, the best one against every worse one.
--
-- what:   Of the siblings below one node the one with the highest value is chosen; every other one whose value is at
--         least $min_margin lower is rejected against it.
-- in:     tree_nodes
-- params: $min_margin, $min_visits (both siblings)
-- out:    node_pairs
-- note:   value is the mean return through a node, so it needs visits; siblings with equal text are one step and give
--         no pair, and documents that were found are no steps to prefer.

with valued as (
    select tree_id, parent_id, node_id, step_text, value, visit_count
    from tree_nodes
    where parent_id is not null
        and isfinite(value)
        and visit_count >= $min_visits
        and action is distinct from 'retrieve'
),

best as (
    select *
    from valued
    qualify row_number() over (
        partition by tree_id, parent_id order by value desc, visit_count desc, node_id
    ) = 1
)

select
    best.tree_id,
    best.parent_id,
    best.node_id as chosen_node,
    other.node_id as rejected_node,
    best.step_text as chosen_text,
    other.step_text as rejected_text,
    best.value as chosen_score,
    other.value as rejected_score,
    null::double as soft_label
from best
inner join valued as other
    on other.tree_id = best.tree_id
    and other.parent_id = best.parent_id
    and other.step_text <> best.step_text
    and round(best.value - other.value, 9) >= $min_margin
    and other.value < best.value
