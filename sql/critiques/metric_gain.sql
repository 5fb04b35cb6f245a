-- What a critique does to any metric of the answer (RL4F, and the gap reward of PIT).
--
-- what:   gap = metric after the refinement - metric before it;   reward = metric after, with $relative the gap;
--         soft_label = 1 / (1 + exp(-gap / $temperature)), the probability that the refinement is the better one.
-- in:     judged_critiques
-- params: $relative, $temperature
-- out:    one row per critique (position, gap, soft_label, reward, reason), by position
-- note:   a metric that is missing or no number gives no reward but the reason no_metric.

with measured as (
    select
        position,
        if(isfinite(metric_before), metric_before, null) as before,
        if(isfinite(metric_after), metric_after, null) as after
    from judged_critiques
)

select
    position,
    after - before as gap,
    1.0 / (1.0 + exp((before - after) / $temperature)) as soft_label,
    if($relative, after - before, after) as reward,
    if(after is null or ($relative and before is null), 'no_metric', null) as reason
from measured
order by position
