-- Independent samples as the miners of pairs read them, whatever table they come from.
--
-- what:   score = mean step score of one scorer. strong_logprob and weak_logprob are the completion's log-probabilities
--         under two models of token_scores, of which `policy` is the one that wrote the rollout.
-- in:     problems, rollouts, step_scores, token_scores
-- params: $source and $scorer_version of the step scores, $strong_model, $weak_model, $separator (ends every step)
-- out:    responses, one row per finished sample with text
-- note:   a sample that nobody scored has no score, which is not a score of 0; it is graded or not. Failed samples are
--         left out.

with scores as (
    select rollout_id, avg(score) as mean_score
    from step_scores
    where source = $source and scorer_version = $scorer_version
    group by rollout_id
),

likelihoods as (
    select
        scored.rollout_id,
        max(scored.sum_logprob) filter (
            where scored.model_id = if($strong_model = 'policy', rollouts.policy_id, $strong_model)
        ) as strong_logprob,
        max(scored.sum_logprob) filter (
            where scored.model_id = if($weak_model = 'policy', rollouts.policy_id, $weak_model)
        ) as weak_logprob
    from token_scores as scored
    inner join rollouts on rollouts.rollout_id = scored.rollout_id
    where scored.error is null
    group by scored.rollout_id
)

select
    row_number() over (order by rollouts.rollout_id) - 1 as position,
    rollouts.problem_id,
    rollouts.group_id,
    rollouts.rollout_id as response_id,
    concat(problems.prompt, $separator) as prompt,
    concat(array_to_string(rollouts.steps, $separator), $separator) as response,
    rollouts.steps,
    if(rollouts.outcome_reward in (0.0, 1.0), rollouts.outcome_reward, null) as outcome_reward,
    round(scores.mean_score, 9) as score,
    rollouts.policy_version as policy,
    null::boolean as is_teacher,
    null::varchar as stratum,
    likelihoods.strong_logprob,
    likelihoods.weak_logprob
from rollouts
inner join problems on problems.problem_id = rollouts.problem_id
left join scores on scores.rollout_id = rollouts.rollout_id
left join likelihoods on likelihoods.rollout_id = rollouts.rollout_id
where rollouts.group_id is not null
    and rollouts.error is null
    and len(rollouts.steps) > 0
