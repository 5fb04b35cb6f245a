-- The critiques of a rollout, or one critique.
--
-- in:     critiques
-- params: $row_id (rollout_id or critique_id), $night
-- out:    one row per critique, by agent
-- note:   two searches and no `or`: a Bloom filter helps to find one value of one column.

with found as (
    select * from critiques where rollout_id = $row_id and night = $night
    union all
    select * from critiques where critique_id = $row_id and night = $night
)

select critique_id, rollout_id, problem_id, agent, verdict, first_error_step, text, request_id, error, night
from found
order by agent, critique_id
