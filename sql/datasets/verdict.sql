-- The agents' joint verdict on a rollout.
--
-- in:     verdicts
-- params: $row_id, $night
-- out:    one row, or none

select verdict, confidence, first_error_step, num_agents, error
from verdicts
where rollout_id = $row_id and night = $night
