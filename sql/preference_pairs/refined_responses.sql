-- Refinements beside the answers that they started from.
--
-- in:     problems, rollouts, refinements
-- params: $separator
-- out:    refined_responses, one row per graded refinement of a graded answer
-- note:   refinements that failed, or have no text, are left out.

select
    row_number() over (order by refinements.refinement_id) - 1 as position,
    refinements.problem_id,
    concat(problems.prompt, $separator) as prompt,
    rollouts.rollout_id as original_id,
    concat(array_to_string(rollouts.steps, $separator), $separator) as original,
    rollouts.outcome_reward as original_reward,
    refinements.refinement_id,
    concat(array_to_string(refinements.steps, $separator), $separator) as refinement,
    refinements.outcome_reward as refinement_reward,
    rollouts.policy_version as policy
from refinements
inner join rollouts on rollouts.rollout_id = refinements.rollout_id
inner join problems on problems.problem_id = refinements.problem_id
where refinements.error is null
    and rollouts.error is null
    and len(refinements.steps) > 0
    and len(rollouts.steps) > 0
    and refinements.outcome_reward in (0.0, 1.0)
    and rollouts.outcome_reward in (0.0, 1.0)
