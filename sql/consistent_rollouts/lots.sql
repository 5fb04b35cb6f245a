-- The lot of every sample: what a side that is not ranked is thinned by, and the baseline of every filter.
--
-- what:   lot = lower half of md5(rollout id + $salt)
-- in:     samples
-- params: $salt
-- out:    one row per sample (position, lot), by position
-- note:   a hash of the id, so that neither the order of rows nor the machine changes it; the smallest lots are drawn.

select position, md5_number_lower(concat(rollout_id, $salt)) as lot
from samples
order by position
