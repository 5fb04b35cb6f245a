-- What became of every rollout: pass, fail or error (CodeRL, arXiv 2207.01780).
--
-- what: error = cut off at the length limit, or no answer was found: nothing that could be graded as an answer.
-- in:   rollouts
-- out:  one row per rollout with steps
-- note: requests that failed are no rollouts, and a rollout with an answer that nobody graded has no class.

select
    rollout_id,
    problem_id,
    steps,
    is_guided,
    case
        when finish_reason = 'length' or answer is null then 'error'
        when outcome_reward = 1.0 then 'pass'
        else 'fail'
    end as outcome_class
from rollouts
where error is null
    and len(steps) > 0
    and (finish_reason = 'length' or answer is null or outcome_reward in (0.0, 1.0))
order by rollout_id
