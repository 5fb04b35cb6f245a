-- The kept preference pairs that name nodes of one tree, or rollouts that end in it.
--
-- in:     preference_pairs, rollouts
-- params: $tree_id, $night
-- out:    one row per pair, the widest margin first
-- note:   a pair of rollouts stands at the leaves; a side that lies outside this tree is null.

with leaves as (
    select rollout_id, any_value(leaf_node_id) as node_id
    from rollouts
    where tree_id = $tree_id and night = $night and leaf_node_id is not null
    group by rollout_id
),

placed as (
    select
        pairs.pair_id,
        pairs.kind,
        pairs.margin,
        coalesce(
            if(
                starts_with(pairs.chosen_id, $tree_id || ':'),
                try_cast(split_part(pairs.chosen_id, ':', 2) as bigint),
                null
            ),
            chosen.node_id
        ) as chosen_node,
        coalesce(
            if(
                starts_with(pairs.rejected_id, $tree_id || ':'),
                try_cast(split_part(pairs.rejected_id, ':', 2) as bigint),
                null
            ),
            rejected.node_id
        ) as rejected_node
    from preference_pairs as pairs
    left join leaves as chosen on chosen.rollout_id = pairs.chosen_id
    left join leaves as rejected on rejected.rollout_id = pairs.rejected_id
    where pairs.night = $night
)

select pair_id, kind, margin, chosen_node, rejected_node
from placed
where chosen_node is not null or rejected_node is not null
order by margin desc, pair_id
