-- Step scores and gold labels whose rollout or step does not exist.
--
-- in:  step_scores, gold_steps, rollouts
-- out: offending rows (table_name, row_id, night, what), one per row

with step_rows as (
    select 'step_scores' as table_name, rollout_id, step, night from step_scores
    union all
    select 'gold_steps', rollout_id, step, night from gold_steps
)

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
order by table_name, row_id
