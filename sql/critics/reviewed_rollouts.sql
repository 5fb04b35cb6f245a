-- Rollouts with the first error that people who reviewed them found: labels of a critic that learns from people.
--
-- in:   human_labels
-- out:  one row per reviewed rollout on which more than half of its reviewers name the same step, or none; confidence is
--       their share
-- note: of several reviews by one person the last one counts. The steps are those that were read, so that rollouts of
--       earlier nights need not be looked up; whether a critic guided their search is not known here.

with latest as (
    select *
    from human_labels
    qualify row_number() over (
        partition by rollout_id, reviewer order by reviewed_on desc, import_number desc, review_id
    ) = 1
),

counted as (
    select
        rollout_id,
        first_error_step,
        any_value(problem_id) as problem_id,
        min(steps) as steps,
        count(*) as num_agreeing,
        sum(count(*)) over (partition by rollout_id) as num_reviewers
    from latest
    group by rollout_id, first_error_step
)

select
    rollout_id,
    problem_id,
    steps,
    null::boolean as is_guided,
    first_error_step,
    num_agreeing / num_reviewers as confidence
from counted
where 2 * num_agreeing > num_reviewers and len(steps) > 0 and first_error_step between -1 and len(steps) - 1
order by rollout_id
