-- The agents' joint verdict on a rollout, with the final critique that refinements follow.
--
-- in:     verdicts
-- params: $row_id (rollout_id, or critique_id of the final critique), $night
-- out:    one row, or none
-- note:   two searches and no `or`: a Bloom filter helps to find one value of one column.

with found as (
    select * from verdicts where rollout_id = $row_id and night = $night
    union all
    select * from verdicts where critique_id = $row_id and night = $night
)

select rollout_id, critique_id, verdict, confidence, first_error_step, num_agents, text, error, night
from found
