-- Which right answers have a flawless reasoning, by the critic, by people and by the generator's own rules?
--
-- in:     rollouts, step_scores, gold_steps, human_labels
-- params: $night, $by_people, $by_generator
-- out:    one row per independent sample with a right answer (row_id, judge_label, gold_label, is_reviewed), by id
-- note:   judge_label is the lowest step score of the critic that scores for the filters. gold_label is 1 where no step is
--         wrong: as more than half of the people say who reviewed the solution (each by the last review), else by the
--         generator's rules; null where nobody knows it. $by_people and $by_generator switch either off.

with scored as (
    select rollout_id, min(score) as lowest
    from step_scores
    where night = $night and source = 'critic'
    group by rollout_id
),

generated as (
    select rollout_id, bool_and(is_right)::int::double as is_flawless
    from gold_steps
    where night = $night and $by_generator
    group by rollout_id
),

latest as (
    select rollout_id, (first_error_step = -1)::int as is_flawless
    from human_labels
    where night = $night and $by_people
    qualify row_number() over (
        partition by rollout_id, reviewer order by reviewed_on desc, import_number desc, review_id
    ) = 1
),

reviewed as (
    select rollout_id, if(avg(is_flawless) > 0.5, 1.0, 0.0) as is_flawless
    from latest
    group by rollout_id
    having avg(is_flawless) != 0.5
)

select
    rollouts.rollout_id as row_id,
    scored.lowest as judge_label,
    coalesce(reviewed.is_flawless, generated.is_flawless) as gold_label,
    reviewed.is_flawless is not null as is_reviewed
from rollouts
left join scored on scored.rollout_id = rollouts.rollout_id
left join reviewed on reviewed.rollout_id = rollouts.rollout_id
left join generated on generated.rollout_id = rollouts.rollout_id
where rollouts.night = $night and rollouts.group_id is not null and rollouts.outcome_reward = 1.0
order by row_id
