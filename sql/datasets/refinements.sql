-- The refinements of a rollout, or one refinement.
--
-- in:     refinements
-- params: $row_id (rollout_id or refinement_id), $night
-- out:    one row per refinement, by id
-- note:   two searches and no `or`: a Bloom filter helps to find one value of one column.

with found as (
    select * from refinements where rollout_id = $row_id and night = $night
    union all
    select * from refinements where refinement_id = $row_id and night = $night
)

select refinement_id, rollout_id, problem_id, critique_id, steps, answer, outcome_reward, request_id, error, night
from found
order by refinement_id
