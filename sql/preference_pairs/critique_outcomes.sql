-- Critiques with the grades of the refinements that were made with them.
--
-- what:   The prompt is the statement and the criticised solution.
-- in:     problems, rollouts, critiques, verdicts, refinements
-- params: $separator
-- out:    critique_outcomes, one row per critique that could be read and per final critique
-- note:   quality is the meta-critique's; a final critique is judged by nobody. A refinement that was not graded has no
--         score.

with refined as (
    select critique_id, list(outcome_reward order by refinement_id) as refinement_scores
    from refinements
    where error is null and outcome_reward is not null
    group by critique_id
),

said as (
    select critique_id, rollout_id, problem_id, text, quality
    from critiques
    where error is null and text is not null
    union all
    select critique_id, rollout_id, problem_id, text, null
    from verdicts
    where critique_id is not null and text is not null
)

select
    row_number() over (order by said.critique_id) - 1 as position,
    said.rollout_id,
    said.problem_id,
    said.critique_id,
    concat(problems.prompt, $separator, array_to_string(rollouts.steps, $separator), $separator) as prompt,
    said.text as critique,
    said.quality,
    refined.refinement_scores,
    rollouts.policy_version as policy
from said
inner join rollouts on rollouts.rollout_id = said.rollout_id
inner join problems on problems.problem_id = said.problem_id
left join refined on refined.critique_id = said.critique_id
