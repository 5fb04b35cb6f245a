-- Which right answers have a flawless reasoning, by the critic and by the generator's own rules?
--
-- in:     rollouts, step_scores, gold_steps
-- params: $night
-- out:    one row per independent sample with a right answer (row_id, judge_label, gold_label), by id
-- note:   judge_label is the lowest step score of the critic that scores for the filters; gold_label is 1 where all steps
--         are right, null for families without gold labels.

with scored as (
    select rollout_id, min(score) as lowest
    from step_scores
    where night = $night and source = 'critic'
    group by rollout_id
),

gold as (
    select rollout_id, bool_and(is_right)::int::double as is_flawless
    from gold_steps
    where night = $night
    group by rollout_id
)

select rollouts.rollout_id as row_id, scored.lowest as judge_label, gold.is_flawless as gold_label
from rollouts
left join scored on scored.rollout_id = rollouts.rollout_id
left join gold on gold.rollout_id = rollouts.rollout_id
where rollouts.night = $night and rollouts.group_id is not null and rollouts.outcome_reward = 1.0
order by row_id
