-- Rollouts in which judges and Monte Carlo estimates find the same first error (consensus filtering of
-- Qwen2.5-Math-PRM, arXiv 2501.07301): about 40 % of the rows there.
--
-- what: The Monte Carlo first error of a right rollout is none: each of its steps was followed by a right answer, its
--       own. Of a wrong one it is the row of first_errors, else that of a wrong rollout of a tree of the same problem
--       and night that begins with the same steps up to and with its first error (what followed those steps was counted
--       there, whoever wrote them), else the first step whose Monte Carlo score is 0.
-- in:   rollouts, verdicts, first_errors, step_scores (monte_carlo)
-- out:  one row per rollout on which the sources agree
-- note: a wrong rollout of which only one source knows the first error is left out. Of several Monte Carlo scores of
--       one step the mean counts; of several trees that lost a beginning, the earliest first error.

with monte_carlo as (
    select rollout_id, min(step) filter (where score = 0.0) as step
    from (
        select rollout_id, step, avg(score) as score
        from step_scores
        where source = 'monte_carlo' and score is not null
        group by rollout_id, step
    )
    group by rollout_id
),

lost_beginnings as (
    select distinct
        first_errors.problem_id,
        first_errors.night,
        first_errors.step,
        array_to_string(rollouts.steps[1:first_errors.step + 1], chr(10)) as beginning
    from first_errors
    inner join rollouts on rollouts.rollout_id = first_errors.rollout_id and rollouts.night = first_errors.night
    where len(rollouts.steps) > first_errors.step
),

shared as (
    select rollouts.rollout_id, rollouts.night, min(lost_beginnings.step) as step
    from rollouts
    inner join lost_beginnings
        on lost_beginnings.problem_id = rollouts.problem_id
        and lost_beginnings.night = rollouts.night
        and array_to_string(rollouts.steps[1:lost_beginnings.step + 1], chr(10)) = lost_beginnings.beginning
    where len(rollouts.steps) > lost_beginnings.step
    group by rollouts.rollout_id, rollouts.night
),

estimated as (
    select
        rollouts.*,
        if(
            rollouts.outcome_reward = 1.0, -1, coalesce(first_errors.step, shared.step, monte_carlo.step)
        ) as estimated_error_step
    from rollouts
    left join first_errors on first_errors.rollout_id = rollouts.rollout_id and first_errors.night = rollouts.night
    left join shared on shared.rollout_id = rollouts.rollout_id and shared.night = rollouts.night
    left join monte_carlo on monte_carlo.rollout_id = rollouts.rollout_id
    where rollouts.error is null and rollouts.outcome_reward in (0.0, 1.0) and len(rollouts.steps) > 0
)

select
    estimated.rollout_id,
    estimated.problem_id,
    estimated.steps,
    estimated.is_guided,
    verdicts.first_error_step,
    verdicts.confidence
from estimated
inner join verdicts on verdicts.rollout_id = estimated.rollout_id and verdicts.night = estimated.night
where verdicts.error is null
    and verdicts.first_error_step = estimated.estimated_error_step
    and (verdicts.verdict = 'right') = (verdicts.first_error_step = -1)
    and verdicts.first_error_step < len(estimated.steps)
order by estimated.rollout_id
