-- Steps per solution, and where the first wrong step stands.
--
-- in:     sft, stepwise, rollouts, replay
-- params: $night
-- out:    one row per series and number of steps (or index of the first wrong step, from 0), with its number of rows

with depths as (
    select 'sft, steps' as series, len(rollouts.steps) as depth
    from sft
    join rollouts on rollouts.rollout_id = sft.rollout_id and rollouts.night = $night
    where sft.night = $night and sft.origin <> 'refinements'
    union all
    select 'sft, steps', len(replay.steps)
    from sft
    join replay on replay.rollout_id = sft.rollout_id and replay.night = $night
    where sft.night = $night and sft.origin = 'replay'
    union all
    select 'stepwise, steps', len(completions) from stepwise where night = $night
    union all
    select 'stepwise, first wrong', list_position(labels, false) - 1
    from stepwise
    where night = $night and list_contains(labels, false)
)

select series, depth as x, count(*) as num_rows
from depths
where depth is not null
group by series, depth
order by series, x
