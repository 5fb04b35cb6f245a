-- Groups whose advantages do not sum to zero: they were not computed on the rows that were kept.
--
-- in:  consistent_rollouts, rl_groups
-- out: offending rows (table_name, row_id, night, what), one per group (and method)

with advantages as (
    select 'consistent_rollouts' as table_name, group_id || ' ' || method as row_id, night, group_advantage as advantage
    from consistent_rollouts
    union all
    select 'rl_groups', group_id, night, advantage
    from rl_groups
)

select
    table_name,
    row_id,
    night,
    case
        when count(*) > count(advantage) then count(*) - count(advantage) || ' rows have no advantage'
        else 'the advantages sum to ' || round(sum(advantage), 6)
    end as what
from advantages
group by table_name, row_id, night
having count(*) > count(advantage) or not abs(sum(advantage)) <= 1e-6 * count(*)
order by table_name, row_id, night
