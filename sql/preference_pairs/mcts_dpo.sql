-- Pairs of steps along the chosen path of a tree (MCTS-DPO, arXiv 2405.00451, in the form of its released code).
--
-- what:   Children of a node are ranked by (pi, value, estimate, visits), where pi tells the most visited ones from the
--         others; the chosen path goes from best child to best child. At each of its nodes with several candidates the
--         best is chosen and another one rejected, by lot or the last one. A completion goes on through nodes with one
--         child. soft_label = 1 - min(1 - 1 / (1 + N_l / max(1, N_w)), 0.5).
-- in:     tree_nodes
-- params: $min_visits, $worse (random | worst), $only_right, $separator, $salt
-- out:    node_pairs
-- note:   with $only_right a path whose end is not graded, or wrong, gives no pair. The smaller node wins ties.

with recursive

candidates as (
    select
        *,
        visit_count = max(visit_count) over (partition by tree_id, parent_id) as is_most_visited,
        count(*) over (partition by tree_id, parent_id) as num_candidates
    from tree_nodes
    where parent_id is not null
        and isfinite(value)
        and visit_count >= $min_visits
        and action is distinct from 'retrieve'
),

ranked as (
    select
        *,
        row_number() over (
            partition by tree_id, parent_id
            order by is_most_visited desc, value desc, raw_value desc nulls last, visit_count desc, node_id
        ) as place
    from candidates
),

chosen_path as (
    select tree_id, node_id
    from tree_nodes
    where parent_id is null
    union all
    select best.tree_id, best.node_id
    from chosen_path
    inner join ranked as best
        on best.tree_id = chosen_path.tree_id and best.parent_id = chosen_path.node_id and best.place = 1
),

right_trees as (
    select distinct node.tree_id
    from chosen_path
    inner join tree_nodes as node on node.tree_id = chosen_path.tree_id and node.node_id = chosen_path.node_id
    where node.outcome_reward = 1.0
),

losers as (
    select ranked.*
    from ranked
    inner join chosen_path on chosen_path.tree_id = ranked.tree_id and chosen_path.node_id = ranked.parent_id
    where ranked.place > 1
    qualify row_number() over (
        partition by ranked.tree_id, ranked.parent_id
        order by
            if($worse = 'random', md5_number_lower(concat(ranked.tree_id, ':', ranked.node_id, ':', $salt)), 0),
            ranked.place desc
    ) = 1
),

completions as (
    select tree_id, node_id as origin, node_id, step_text as completion, 0 as num_more
    from ranked
    where place = 1 or (tree_id, node_id) in (select (tree_id, node_id) from losers)
    union all
    select
        completions.tree_id,
        completions.origin,
        child.node_id,
        concat(completions.completion, $separator, child.step_text) as completion,
        completions.num_more + 1 as num_more
    from completions
    inner join ranked as child
        on child.tree_id = completions.tree_id and child.parent_id = completions.node_id and child.num_candidates = 1
),

complete as (
    select tree_id, origin, completion
    from completions
    qualify row_number() over (partition by tree_id, origin order by num_more desc) = 1
)

select
    chosen.tree_id,
    chosen.parent_id,
    chosen.node_id as chosen_node,
    rejected.node_id as rejected_node,
    better.completion as chosen_text,
    worse.completion as rejected_text,
    chosen.value as chosen_score,
    rejected.value as rejected_score,
    1.0 - least(1.0 - 1.0 / (1.0 + rejected.visit_count / greatest(1, chosen.visit_count)), 0.5) as soft_label
from losers as rejected
inner join ranked as chosen
    on chosen.tree_id = rejected.tree_id and chosen.parent_id = rejected.parent_id and chosen.place = 1
inner join complete as better on better.tree_id = chosen.tree_id and better.origin = chosen.node_id
inner join complete as worse on worse.tree_id = rejected.tree_id and worse.origin = rejected.node_id
where better.completion <> worse.completion
    and (not $only_right or chosen.tree_id in (select tree_id from right_trees))
