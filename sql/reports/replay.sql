-- Good old rollouts worth training on again: right and kept, of problems that the policy does not solve surely now.
--
-- what:   right independent samples that a night's filter kept, of problems whose pass rate on the last night that sampled
--         them is below one; of a problem the four latest ones, distinct by their steps. The last night itself is left out.
-- in:     rollouts, consistent_rollouts
-- out:    one row per rollout (problem_id, rollout_id, night, policy_version, score, pass_rate_now, last_night), problems
--         with the lowest pass rate first

with rates as (
    select problem_id, night, avg(outcome_reward) as pass_rate
    from rollouts
    where group_id is not null and outcome_reward is not null
    group by problem_id, night
),

latest as (
    select problem_id, night, pass_rate
    from rates
    qualify row_number() over (partition by problem_id order by night desc) = 1
),

kept as (
    select
        rollouts.problem_id,
        rollouts.rollout_id,
        rollouts.night,
        rollouts.policy_version,
        consistent_rollouts.score,
        latest.pass_rate as pass_rate_now,
        latest.night as last_night
    from consistent_rollouts
    join rollouts on rollouts.rollout_id = consistent_rollouts.rollout_id and rollouts.night = consistent_rollouts.night
    join latest on latest.problem_id = rollouts.problem_id
    where rollouts.outcome_reward = 1.0 and rollouts.night < latest.night and latest.pass_rate < 1.0
    qualify row_number() over (
        partition by rollouts.problem_id, array_to_string(rollouts.steps, chr(10))
        order by rollouts.night desc, rollouts.rollout_id
    ) = 1
)

select problem_id, rollout_id, night, policy_version, score, pass_rate_now, last_night
from kept
qualify row_number() over (partition by problem_id order by night desc, score desc nulls last, rollout_id) <= 4
order by pass_rate_now, problem_id, night desc, rollout_id
