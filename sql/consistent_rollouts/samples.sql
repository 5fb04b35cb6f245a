-- What a consistency filter may look at of every rollout of a batch, or why the rollout takes no part.
--
-- in:     rollouts (one batch), step_scores
-- params: $source, $scorer_version ('' = there are no scores)
-- out:    samples, one row per rollout
-- note:   a rollout that failed or belongs to no group has an `exclusion`. `step_values` are the scores of one step
--         critic; where they do not match the rollout's steps they are null, and `score_exclusion` says why.

with scores as (
    select rollout_id, count(score) as num_scored, list(score order by step) as step_values
    from step_scores
    where source = $source and scorer_version = $scorer_version
    group by rollout_id
),

judged as (
    select
        rollouts.*,
        if(coalesce(len(rollouts.steps), 0) = 0, [], scores.step_values) as step_values,
        case
            when rollouts.error is not null then 'failed'
            when rollouts.group_id is null then 'not_in_group'
        end as exclusion,
        case
            when coalesce(len(rollouts.steps), 0) > 0 and coalesce(scores.num_scored, 0) = 0 then 'no_step_scores'
            when coalesce(scores.num_scored, 0) <> coalesce(len(rollouts.steps), 0) then 'step_count_mismatch'
        end as score_exclusion
    from (
        select
            rollout_id,
            problem_id,
            group_id,
            policy_id,
            steps,
            answer,
            outcome_reward,
            num_tokens,
            sum_logprob,
            finish_reason,
            error
        from rollouts
    ) as rollouts
    left join scores on scores.rollout_id = rollouts.rollout_id
)

select
    row_number() over (order by group_id, rollout_id) - 1 as position,
    rollout_id,
    problem_id,
    group_id,
    policy_id,
    steps,
    answer,
    outcome_reward,
    if(score_exclusion is null, step_values, null) as step_values,
    num_tokens,
    sum_logprob,
    finish_reason,
    rollout_id as text_id,
    array_to_string(steps, chr(10)) as text,
    exclusion,
    score_exclusion
from judged
order by position
