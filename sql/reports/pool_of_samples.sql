-- The night's independent samples with their step scores, as B-STaR's search reads them.
--
-- in:     rollouts, step_scores
-- params: $night
-- out:    pool_rollouts, one row per sample; temperature is null: all were sampled alike

with scored as (
    select rollout_id, list(score order by step) as step_values
    from step_scores
    where night = $night and source = 'critic'
    group by rollout_id
)

select
    row_number() over (order by rollouts.rollout_id) - 1 as position,
    rollouts.problem_id,
    rollouts.rollout_id,
    null::double as temperature,
    rollouts.outcome_reward,
    scored.step_values
from rollouts
left join scored on scored.rollout_id = rollouts.rollout_id
where rollouts.night = $night and rollouts.group_id is not null and rollouts.error is null
order by position
