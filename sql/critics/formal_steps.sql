-- Steps that a formal checker scored, with the rollouts they belong to.
--
-- in:   rollouts, step_scores (formal)
-- out:  one row per (rollout, step)
-- note: of several formal scores of one step the lowest counts: what one checker refuted is not proved.

select
    rollouts.rollout_id,
    any_value(rollouts.problem_id) as problem_id,
    any_value(rollouts.steps) as steps,
    any_value(rollouts.is_guided) as is_guided,
    step_scores.step,
    min(step_scores.score) as score
from step_scores
inner join rollouts on rollouts.rollout_id = step_scores.rollout_id and rollouts.night = step_scores.night
where step_scores.source = 'formal'
    and step_scores.score is not null
    and rollouts.error is null
    and step_scores.step between 0 and len(rollouts.steps) - 1
group by rollouts.rollout_id, step_scores.step
order by rollouts.rollout_id, step_scores.step
