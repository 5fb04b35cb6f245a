-- Every number of every night.
--
-- in:   night_metrics, critic_trials
-- out:  one row per metric and night (metric, night, value), by night
-- note: critic_auroc_frozen is read from the trial itself, where all nights have it: in nights recorded before it meant
--       AUROC within problems the name stands for AUROC of pooled steps.

with numbers as (
    select metric, night, value
    from night_metrics
    where metric != 'critic_auroc_frozen'
    union all
    select 'critic_auroc_frozen', night, (metrics::json -> '$.evaluation.tonight')::double
    from critic_trials
    where night in (select night from night_metrics)
)

select metric, night, value
from numbers
where value is not null
order by night, metric
