-- What are steps worth, by their place in the solution?
--
-- in:     rollouts, search_nodes, step_scores, gold_steps
-- params: $night
-- out:    one row per series and depth (series, depth from 1, value, num)
-- note:   series `tree_value`: mean backed-up value of visited nodes of the night's trees. `critic_right` and
--         `critic_first_wrong`: mean critic score of right steps, and of first wrong ones, of the night's samples; only
--         the starter families have gold labels.

with first_errors as (
    select rollout_id, min(step) filter (where not is_right) as first_wrong
    from gold_steps
    where night = $night
    group by rollout_id
),

placed as (
    select 'tree_value' as series, depth, value
    from search_nodes
    where night = $night and depth > 0 and visit_count > 0 and value is not null
    union all
    select
        if(scores.step = first_errors.first_wrong, 'critic_first_wrong', 'critic_right'),
        scores.step + 1,
        scores.score
    from step_scores as scores
    join first_errors on first_errors.rollout_id = scores.rollout_id
    join rollouts on rollouts.rollout_id = scores.rollout_id and rollouts.night = scores.night
    where scores.night = $night
        and rollouts.group_id is not null
        and scores.source = 'critic'
        and scores.score is not null
        and scores.step <= coalesce(first_errors.first_wrong, scores.step)
)

select series, depth, avg(value) as value, count(*) as num
from placed
group by series, depth
order by series, depth
