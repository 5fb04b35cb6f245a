-- Critiques with the grades of the refinements that were made with them.
--
-- what:   The prompt is the statement and the criticised solution.
-- in:     problems, rollouts, critiques, refinements
-- params: $separator
-- out:    critique_outcomes, one row per critique that could be read
-- note:   nobody judges critiques here, so `quality` is null. A refinement that was not graded has no score.

with refined as (
    select critique_id, list(outcome_reward order by refinement_id) as refinement_scores
    from refinements
    where error is null and outcome_reward is not null
    group by critique_id
)

select
    row_number() over (order by critiques.critique_id) - 1 as position,
    critiques.rollout_id,
    critiques.problem_id,
    critiques.critique_id,
    concat(problems.prompt, $separator, array_to_string(rollouts.steps, $separator), $separator) as prompt,
    critiques.text as critique,
    null::double as quality,
    refined.refinement_scores,
    rollouts.policy_version as policy
from critiques
inner join rollouts on rollouts.rollout_id = critiques.rollout_id
inner join problems on problems.problem_id = critiques.problem_id
left join refined on refined.critique_id = critiques.critique_id
where critiques.error is null and critiques.text is not null
