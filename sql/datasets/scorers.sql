-- Who scored the steps of a rollout.
--
-- in:     step_scores
-- params: $row_id, $night
-- out:    one row per source and scorer_version, with the lowest and the mean score

select source, scorer_version, count(score) as num_scored, min(score) as lowest, avg(score) as mean
from step_scores
where rollout_id = $row_id and night = $night
group by source, scorer_version
order by source, scorer_version
