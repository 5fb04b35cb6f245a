-- What every filter said of a rollout.
--
-- in:     consistency_results
-- params: $row_id, $night
-- out:    one row per method, by name

select method, kept, reason, score
from consistency_results
where rollout_id = $row_id and night = $night
order by method
