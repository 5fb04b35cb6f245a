-- Every number of every night.
--
-- in:  night_metrics
-- out: one row per metric and night (metric, night, value), by night

select metric, night, value
from night_metrics
order by night, metric
