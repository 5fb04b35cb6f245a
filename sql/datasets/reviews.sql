-- What people said of a rollout.
--
-- in:     human_labels
-- params: $row_id, $night
-- out:    one row per review, the earliest first

select review_id, reviewer, reviewed_on, first_error_step, comment, is_blind
from human_labels
where rollout_id = $row_id and night = $night
order by reviewed_on, import_number, review_id
