-- How wide are the gaps of the preference pairs?
--
-- in:  preference_pairs
-- out: one row per night, kind and margin bucket of width 0.1: from (inclusive), to, pairs, problems

with bucketed as (
    select *, floor(round(margin * 10, 6)) / 10 as margin_from
    from preference_pairs
)

select
    night,
    kind,
    margin_from,
    round(margin_from + 0.1, 1) as margin_to,
    count(*) as num_pairs,
    count(distinct problem_id) as num_problems
from bucketed
group by night, kind, margin_from
order by night, kind, margin_from
