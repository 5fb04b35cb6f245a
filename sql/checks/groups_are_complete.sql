-- Groups and critiques that lack members which their neighbours have.
--
-- in:  rollouts, critiques
-- out: offending rows (table_name, row_id, night, what), one per short group or short round of critiques
-- note: all groups of a night have one size, failed members included, and every criticised rollout has heard all agents.

with groups as (
    select 'rollouts' as table_name, group_id as row_id, night, count(*) as num_members
    from rollouts
    where group_id is not null
    group by all
),

rounds as (
    select 'critiques' as table_name, rollout_id as row_id, night, count(*) as num_members
    from critiques
    group by all
),

counted as (
    from groups
    union all
    from rounds
)

select
    table_name,
    row_id,
    night,
    'has ' || num_members || ' rows, others of the night have '
        || max(num_members) over (partition by table_name, night) as what
from counted
qualify num_members < max(num_members) over (partition by table_name, night)
order by table_name, row_id
