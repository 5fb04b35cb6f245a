-- At which step do the night's solutions first go wrong?
--
-- in:     gold_steps, first_errors
-- params: $night
-- out:    one row per source and step (source: gold | trees; step from 0, num_reached, num_first_errors)
-- note:   gold: by the generator's rules, all rollouts of the starter families; num_reached counts those that were right
--         before the step. trees: estimated from wrong tree rollouts, num_reached is null.

with gold as (
    select rollout_id, min(step) filter (where not is_right) as first_wrong, max(step) as last_step
    from gold_steps
    where night = $night
    group by rollout_id
),

reached as (
    select unnest(range(coalesce(first_wrong, last_step) + 1)) as step, first_wrong
    from gold
),

counted as (
    select 'gold' as source, step, count(*) as num_reached, count(*) filter (where step = first_wrong) as num_errors
    from reached
    group by step
    union all
    select 'trees', step, null, count(*) from first_errors where night = $night group by step
)

select source, step, num_reached, num_errors as num_first_errors
from counted
order by source, step
