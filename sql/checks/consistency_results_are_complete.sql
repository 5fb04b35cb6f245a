-- Rollouts without exactly one result per consistency method, and kept results that differ from consistent_rollouts.
--
-- in:  consistency_results, rollouts, consistent_rollouts, problems
-- out: offending rows (table_name, row_id, night, what), one per rollout and method
-- note: expected is every independent sample of a training problem of a night, for every method with results that
--       night. Results given twice are found by unique_keys. Where consistent_rollouts has no row in a night, it is
--       wrong only if every method kept something.

with methods as (
    select night, method, count(*) filter (where kept) as num_kept
    from consistency_results
    group by night, method
),

expected as (
    select rollouts.rollout_id, methods.night, methods.method
    from rollouts
    join problems on problems.problem_id = rollouts.problem_id and problems.split = 'train'
    join methods on methods.night = rollouts.night
    where rollouts.group_id is not null
),

used as (
    select distinct night, method from consistent_rollouts
    union
    select night, min(method)
    from methods
    where night not in (select night from consistent_rollouts)
    group by night
    having min(num_kept) > 0
),

kept as (
    select results.rollout_id, results.night, results.method
    from consistency_results as results
    join used on used.night = results.night and used.method = results.method
    where results.kept
),

differences as (
    select 'consistency_results' as table_name, *, 'the rollout has no result' as what
    from (select * from expected except select rollout_id, night, method from consistency_results)
    union all
    select 'consistent_rollouts', *, 'kept by the filter, but missing here'
    from (select * from kept except select rollout_id, night, method from consistent_rollouts)
    union all
    select 'consistent_rollouts', *, 'not kept by the filter'
    from (select rollout_id, night, method from consistent_rollouts except select * from kept)
)

select table_name, rollout_id || ' ' || method as row_id, night, what
from differences
order by table_name, row_id, night
