-- Where labels come from: origins of sft, methods of pairs, values of stepwise labels, filters of rl_groups.
--
-- in:     sft, preference, stepwise, consistent_rollouts, rl_groups
-- params: $night
-- out:    one row per set and source, with its number of rows

with sources as (
    select 'sft' as set_name, coalesce(origin, 'unknown') as source from sft where night = $night
    union all
    select 'preference', coalesce(method, 'unknown') from preference where night = $night
    union all
    select 'stepwise', 'Monte Carlo value' from stepwise where night = $night
    union all
    select 'rl_groups', 'kept by ' || coalesce(kept.method, 'unknown')
    from rl_groups
    left join (select distinct rollout_id, method from consistent_rollouts where night = $night) as kept
        on kept.rollout_id = rl_groups.rollout_id
    where rl_groups.night = $night
)

select set_name, source, count(*) as num_rows
from sources
group by set_name, source
order by set_name, num_rows desc, source
