-- A few rejected rollouts of every filter and reason, with what was asked and answered.
--
-- in:     consistency_results, rollouts, problems
-- params: $night (null = all nights), $num_examples
-- out:    up to $num_examples rows per night, filter and reason (night, method, reason, rollout_id, score, outcome_reward,
--         prompt, solution, answer)
-- note:   which ones is a lot by id, the same in every run; failed rollouts, and those of no group, are left out.

with rejected as (
    select
        *,
        row_number() over (
            partition by night, method, reason order by md5_number_lower(rollout_id), rollout_id
        ) as place
    from consistency_results
    where not kept
        and reason not in ('failed', 'not_in_group')
        and not contains(method, '+')
        and night = coalesce($night, night)
)

select
    rejected.night,
    rejected.method,
    rejected.reason,
    rejected.rollout_id,
    rejected.score,
    rollouts.outcome_reward,
    problems.prompt,
    array_to_string(rollouts.steps, chr(10)) as solution,
    rollouts.answer
from rejected
left join rollouts on rollouts.rollout_id = rejected.rollout_id and rollouts.night = rejected.night
left join problems on problems.problem_id = rejected.problem_id
where rejected.place <= $num_examples
order by rejected.night, rejected.method, rejected.reason, rejected.place
