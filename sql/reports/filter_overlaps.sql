-- How much two filters remove alike, each judging all rollouts of a group alone.
--
-- in:     consistency_results
-- params: $night (null = all nights)
-- out:    one row per night and pair of filters (night, filter, other, num_removed, num_other, num_both, overlap =
--         removed by both / removed by either)
-- note:   failed rollouts, and those of no group, are left out; so are lists of filters.

with removed as (
    select night, rollout_id, method, not kept as is_removed
    from consistency_results
    where not contains(method, '+')
        and coalesce(reason not in ('failed', 'not_in_group'), true)
        and night = coalesce($night, night)
)

select
    removed.night,
    removed.method as filter,
    others.method as other,
    count(*) filter (where removed.is_removed) as num_removed,
    count(*) filter (where others.is_removed) as num_other,
    count(*) filter (where removed.is_removed and others.is_removed) as num_both,
    num_both / nullif(count(*) filter (where removed.is_removed or others.is_removed), 0) as overlap
from removed
inner join removed as others
    on others.night = removed.night and others.rollout_id = removed.rollout_id and others.method > removed.method
group by removed.night, removed.method, others.method
order by removed.night, removed.method, others.method
