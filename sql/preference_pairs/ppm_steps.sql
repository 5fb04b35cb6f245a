-- Steps that led to a right answer against siblings that led to a wrong one (rStar-Math's PPM pairs).
--
-- what:   Pairs for a process preference model (PPM, rStar-Math, arXiv 2501.04519, in the form of its released code). Of
--         the children of one node those with a right end below are chosen, highest value first, and those with a wrong
--         end below are rejected, lowest value first; two meet two, or four where the other side has one alone. A pair is
--         kept when the value of the chosen step is higher by $min_margin, and when the mean value from it on along its
--         best continuation is higher than that from the rejected one on along its worst. margin = gap of the two values.
-- in:     tree_nodes
-- params: $min_margin, $min_visits (both steps), $min_edit_distance (characters)
-- out:    node_pairs
-- note:   a child may stand on both sides, never against itself. The best continuation goes from child to child of the
--         highest value, to its end; steps without visits are unknown and take no part. The released margin of 0.5 is for
--         values in [-1, 1]: 0.25 here. Its loss divides by the pairs of a problem, which are counted by problem_id.

with recursive

ends as (
    select tree_id, node_id, outcome_reward
    from tree_nodes
    where outcome_reward in (0.0, 1.0)
),

ways_up as (
    select tree_id, node_id, outcome_reward
    from ends
    union all
    select ways_up.tree_id, node.parent_id as node_id, ways_up.outcome_reward
    from ways_up
    inner join tree_nodes as node on node.tree_id = ways_up.tree_id and node.node_id = ways_up.node_id
    where node.parent_id is not null
),

outcomes as (
    select
        tree_id,
        node_id,
        count(*) filter (where outcome_reward = 1.0) as num_right,
        count(*) filter (where outcome_reward = 0.0) as num_wrong
    from ways_up
    group by tree_id, node_id
),

valued as (
    select tree_id, parent_id, node_id, step_text, value
    from tree_nodes
    where parent_id is not null and isfinite(value) and visit_count >= $min_visits
),

sides as (
    select valued.*, true as is_chosen, -valued.value as rank_value
    from valued
    inner join outcomes on outcomes.tree_id = valued.tree_id and outcomes.node_id = valued.node_id
    where outcomes.num_right > 0
    union all
    select valued.*, false, valued.value
    from valued
    inner join outcomes on outcomes.tree_id = valued.tree_id and outcomes.node_id = valued.node_id
    where outcomes.num_wrong > 0
),

ranked as (
    select
        *,
        row_number() over (partition by tree_id, parent_id, is_chosen order by rank_value, node_id) as place,
        count(*) over (partition by tree_id, parent_id, is_chosen) as num_side
    from sides
),

meetings as (
    select
        chosen.tree_id,
        chosen.parent_id,
        chosen.node_id as chosen_node,
        chosen.step_text as chosen_text,
        rejected.node_id as rejected_node,
        rejected.step_text as rejected_text,
        chosen.value as chosen_score,
        rejected.value as rejected_score
    from ranked as chosen
    inner join ranked as rejected
        on rejected.tree_id = chosen.tree_id
        and rejected.parent_id = chosen.parent_id
        and chosen.is_chosen
        and not rejected.is_chosen
        and chosen.place <= if(rejected.num_side = 1, 4, 2)
        and rejected.place <= if(chosen.num_side = 1, 4, 2)
        and rejected.step_text <> chosen.step_text
        and rejected.value < chosen.value
        and round(chosen.value - rejected.value, 9) >= $min_margin
        and levenshtein(chosen.step_text, rejected.step_text) >= $min_edit_distance
),

next_steps as (
    select
        tree_id,
        parent_id,
        node_id,
        value,
        row_number() over (partition by tree_id, parent_id order by value desc, node_id) = 1 as is_best,
        row_number() over (partition by tree_id, parent_id order by value, node_id) = 1 as is_worst
    from valued
),

continuations as (
    select distinct valued.tree_id, valued.node_id as origin, valued.node_id, valued.value, true as is_best
    from valued
    inner join meetings on meetings.tree_id = valued.tree_id and meetings.chosen_node = valued.node_id
    union all
    select distinct valued.tree_id, valued.node_id as origin, valued.node_id, valued.value, false
    from valued
    inner join meetings on meetings.tree_id = valued.tree_id and meetings.rejected_node = valued.node_id
    union all
    select
        continuations.tree_id,
        continuations.origin,
        next_steps.node_id,
        next_steps.value,
        continuations.is_best
    from continuations
    inner join next_steps
        on next_steps.tree_id = continuations.tree_id
        and next_steps.parent_id = continuations.node_id
        and if(continuations.is_best, next_steps.is_best, next_steps.is_worst)
),

outlooks as (
    select tree_id, origin, is_best, fsum(value) / count(*) as mean_value
    from continuations
    group by tree_id, origin, is_best
)

select
    meetings.tree_id,
    meetings.parent_id,
    meetings.chosen_node,
    meetings.rejected_node,
    meetings.chosen_text,
    meetings.rejected_text,
    meetings.chosen_score,
    meetings.rejected_score,
    null::double as soft_label
from meetings
inner join outlooks as best
    on best.tree_id = meetings.tree_id and best.origin = meetings.chosen_node and best.is_best
inner join outlooks as worst
    on worst.tree_id = meetings.tree_id and worst.origin = meetings.rejected_node and not worst.is_best
where best.mean_value > worst.mean_value
