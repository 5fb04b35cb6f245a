-- scorers: who scored steps, and until when.
--
-- in:     step_scores
-- params: none
-- out:    one row per source and scorer version

select source, scorer_version, max(night) as night
from step_scores
group by source, scorer_version
order by source, scorer_version
