-- Step scores and gold labels whose rollout or step does not exist, and rollouts that have them for some steps only.
--
-- in:  step_scores, gold_steps, rollouts
-- out: offending rows (table_name, row_id, night, what), one per row or per incomplete rollout

with step_rows as (
    select
        'step_scores' as table_name,
        rollout_id,
        step,
        night,
        ' ' || source || ' ' || scorer_version as scorer
    from step_scores
    union all
    select 'gold_steps', rollout_id, step, night, '' from gold_steps
),

lost as (
    select
        table_name,
        step_rows.rollout_id || ':' || step as row_id,
        step_rows.night,
        case
            when rollouts.rollout_id is null then 'the rollout does not exist'
            else 'the rollout has ' || coalesce(len(rollouts.steps), 0) || ' steps'
        end as what
    from step_rows
    left join rollouts on rollouts.rollout_id = step_rows.rollout_id
    where rollouts.rollout_id is null or step < 0 or step >= coalesce(len(rollouts.steps), 0)
),

incomplete as (
    select
        table_name,
        step_rows.rollout_id || scorer as row_id,
        any_value(step_rows.night) as night,
        count(distinct step) || ' of ' || len(any_value(rollouts.steps)) || ' steps have a row' as what
    from step_rows
    join rollouts on rollouts.rollout_id = step_rows.rollout_id
    where step between 0 and len(rollouts.steps) - 1
    group by table_name, step_rows.rollout_id, scorer
    having count(distinct step) < len(any_value(rollouts.steps))
)

select table_name, row_id, night, what
from (select * from lost union all select * from incomplete)
order by table_name, row_id
