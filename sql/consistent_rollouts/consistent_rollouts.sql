-- consistent_rollouts: what the configured consistency method kept, with advantages over the kept rollouts only.
--
-- what:   group_advantage = outcome reward - mean outcome reward of the kept rollouts of the group
-- in:     rollouts, consistency_results
-- params: $method, $night
-- out:    one row per kept rollout

with kept as (
    select
        rollouts.rollout_id,
        rollouts.problem_id,
        rollouts.group_id,
        consistency_results.method,
        rollouts.outcome_reward,
        consistency_results.score
    from consistency_results
    inner join rollouts on rollouts.rollout_id = consistency_results.rollout_id
    where consistency_results.kept and consistency_results.method = $method
)

select
    rollout_id,
    problem_id,
    group_id,
    method,
    outcome_reward,
    outcome_reward - avg(outcome_reward) over (partition by group_id) as group_advantage,
    score,
    $night::varchar as night
from kept
order by group_id, rollout_id
