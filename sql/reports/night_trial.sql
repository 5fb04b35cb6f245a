-- What the trial of a night's critic found.
--
-- in:     critic_trials
-- params: $night
-- out:    at most one row: the columns of critic_trials without the JSON

select * exclude (metrics)
from critic_trials
where night = $night
