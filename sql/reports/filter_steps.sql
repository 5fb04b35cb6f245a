-- What every filter got, what it removed, and what it alone would have removed.
--
-- what:   A method with several names joined by + is a list of filters that judge in turn; its row tells of the last one.
--         num_in = rollouts that the filters before it kept, of a group and not failed;  num_alone = rollouts it removes
--         when it judges all of them, failed ones left out
-- in:     consistency_results
-- params: $night (null = all nights)
-- out:    one row per night and method (night, method, filter, num_in, num_removed, share_removed, num_alone)

with results as (
    select
        night,
        rollout_id,
        method,
        kept,
        string_split(method, '+') as filters,
        coalesce(reason in ('failed', 'not_in_group'), false) as is_outside
    from consistency_results
    where night = coalesce($night, night)
),

steps as (
    select *, filters[-1] as filter, array_to_string(filters[:-2], '+') as before
    from results
    where not is_outside
),

judged as (
    select
        steps.night,
        steps.method,
        steps.filter,
        len(steps.filters) as length,
        steps.before = '' or coalesce(earlier.kept, false) as is_in,
        steps.kept,
        not alone.kept as is_removed_alone
    from steps
    left join results as earlier
        on earlier.night = steps.night and earlier.rollout_id = steps.rollout_id and earlier.method = steps.before
    left join results as alone
        on alone.night = steps.night and alone.rollout_id = steps.rollout_id and alone.method = steps.filter
)

select
    night,
    method,
    filter,
    count(*) filter (where is_in) as num_in,
    count(*) filter (where is_in and not kept) as num_removed,
    num_removed / nullif(num_in, 0) as share_removed,
    count(*) filter (where is_removed_alone) as num_alone
from judged
group by night, method, filter, length
order by night, length, method
