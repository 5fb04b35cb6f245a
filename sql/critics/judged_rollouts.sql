-- Rollouts with the first error that the judges agreed on: labels of a critic that learns from verdicts.
--
-- in:   rollouts, verdicts
-- out:  one row per rollout whose verdict names a place, or none where it says right
-- note: first_error_step -1 = none. Left out: failed verdicts, `wrong` without a step, `right` with one, a step that
--       the rollout does not have.

select
    rollouts.rollout_id,
    rollouts.problem_id,
    rollouts.steps,
    rollouts.is_guided,
    verdicts.first_error_step,
    verdicts.confidence
from verdicts
inner join rollouts on rollouts.rollout_id = verdicts.rollout_id and rollouts.night = verdicts.night
where verdicts.error is null
    and rollouts.error is null
    and len(rollouts.steps) > 0
    and (
        verdicts.verdict = 'right' and verdicts.first_error_step = -1
        or verdicts.verdict = 'wrong' and verdicts.first_error_step between 0 and len(rollouts.steps) - 1
    )
order by rollouts.rollout_id
