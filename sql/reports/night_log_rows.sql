-- The log of all nights, oldest first.
--
-- in:  night_log
-- out: one row per night: all columns of night_log

select *
from night_log
order by night
