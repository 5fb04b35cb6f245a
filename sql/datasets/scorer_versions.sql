-- Who scored the steps of a night.
--
-- in:     step_scores
-- params: $night
-- out:    one row per source and scorer_version

select source, scorer_version, count(*) as num_steps
from step_scores
where night = $night
group by source, scorer_version
order by source, scorer_version
