-- Advantages of rewards against a baseline, over a deviation, each of the group or of the whole batch.
--
-- what:   advantage = (outcome - baseline) / (deviation + 1e-6), or without division
--             $baseline   group: mean of the group | batch: mean of the batch | leave_one_out: mean of the group's other
--                         samples | none: 0
--             $deviation  group | batch: deviation (n - 1) of the rewards there | none: 1, exactly
-- in:     samples
-- params: $baseline, $deviation
-- out:    one row per sample (position, advantage), by position
-- note:   a sample without grade or group has no advantage and is no member. 0 over 0 is 0; alone in its group a sample
--         has advantage 0 against the group and against nobody.

with members as (
    select position, group_id, outcome_reward
    from samples
    where outcome_reward in (0.0, 1.0) and group_id is not null
),

measured as (
    select
        position,
        outcome_reward,
        avg(outcome_reward) over grouped as group_mean,
        count(*) over grouped as group_size,
        coalesce(stddev_samp(outcome_reward) over grouped, 0.0) as group_deviation,
        avg(outcome_reward) over () as batch_mean,
        coalesce(stddev_samp(outcome_reward) over (), 0.0) as batch_deviation
    from members
    window grouped as (partition by group_id)
),

centred as (
    select
        position,
        outcome_reward - case $baseline
            when 'group' then group_mean
            when 'batch' then batch_mean
            when 'leave_one_out'
                then if(group_size = 1, outcome_reward, (group_mean * group_size - outcome_reward) / (group_size - 1))
            else 0.0
        end as difference,
        case $deviation when 'group' then group_deviation + 1e-6 when 'batch' then batch_deviation + 1e-6 else 1.0 end
            as divisor
    from measured
)

select samples.position, centred.difference / centred.divisor as advantage
from samples
left join centred on centred.position = samples.position
order by samples.position
