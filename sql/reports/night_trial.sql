-- What the trial of a night's critic found.
--
-- in:     critic_trials
-- params: $night
-- out:    at most one row: the columns of critic_trials, and of its JSON the limits that decided (margin, max_drift; null
--         in rows from before limits were kept)

select
    * exclude (metrics),
    (metrics::json -> '$.limits.margin')::double as margin,
    (metrics::json -> '$.limits.max_drift')::double as max_drift
from critic_trials
where night = $night
