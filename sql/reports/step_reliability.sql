-- Does a step score of 0.8 mean that eight of ten such steps are right?
--
-- in:     rollouts, step_scores, gold_steps
-- params: $night
-- out:    one row per tenth of the score (bin from 0, num_steps, mean_score, share_right)
-- note:   the scores of the night's samples by the critics that score for the filters; only rollouts of the starter
--         families have gold labels. Steps after the first wrong one are not counted.

with first_errors as (
    select rollout_id, min(step) filter (where not is_right) as first_wrong
    from gold_steps
    where night = $night
    group by rollout_id
),

judged as (
    select least(floor(scores.score * 10), 9)::bigint as bin, scores.score, gold.is_right
    from step_scores as scores
    join gold_steps as gold
        on gold.rollout_id = scores.rollout_id and gold.step = scores.step and gold.night = scores.night
    join first_errors on first_errors.rollout_id = scores.rollout_id
    join rollouts on rollouts.rollout_id = scores.rollout_id and rollouts.night = scores.night
    where scores.night = $night
        and rollouts.group_id is not null
        and scores.source = 'critic'
        and scores.score is not null
        and scores.step <= coalesce(first_errors.first_wrong, scores.step)
)

select bin, count(*) as num_steps, avg(score) as mean_score, avg(is_right::int) as share_right
from judged
group by bin
order by bin
