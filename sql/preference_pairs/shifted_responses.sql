-- Independent samples of tonight's policy and of the policy before its last update, on the problems that both answered.
--
-- what:   score = mean step score of one scorer, the same for both policies. is_teacher: written by tonight's policy.
-- in:     problems, rollouts, step_scores, earlier_rollouts, earlier_scores
-- params: $source and $scorer_version of the step scores, $separator (ends every step)
-- out:    shifted_responses, one row per finished sample with text
-- note:   earlier_scores are what the same scorer says of earlier_rollouts; a sample that it did not score has no score.

with answered as (
    select rollout_id, problem_id, group_id, steps, outcome_reward, policy_version, true as is_teacher
    from rollouts
    where group_id is not null and error is null and len(steps) > 0
    union all
    select rollout_id, problem_id, group_id, steps, outcome_reward, policy_version, false
    from earlier_rollouts
    where group_id is not null and error is null and len(steps) > 0
),

scores as (
    select rollout_id, avg(score) as mean_score
    from (
        select rollout_id, score, source, scorer_version from step_scores
        union all
        select rollout_id, score, source, scorer_version from earlier_scores
    )
    where source = $source and scorer_version = $scorer_version
    group by rollout_id
)

select
    row_number() over (order by answered.rollout_id) - 1 as position,
    answered.problem_id,
    answered.group_id,
    answered.rollout_id as response_id,
    concat(problems.prompt, $separator) as prompt,
    concat(array_to_string(answered.steps, $separator), $separator) as response,
    answered.steps,
    if(answered.outcome_reward in (0.0, 1.0), answered.outcome_reward, null) as outcome_reward,
    round(scores.mean_score, 9) as score,
    answered.policy_version as policy,
    answered.is_teacher,
    null::varchar as stratum,
    null::double as strong_logprob,
    null::double as weak_logprob
from answered
join problems on problems.problem_id = answered.problem_id
left join scores on scores.rollout_id = answered.rollout_id
