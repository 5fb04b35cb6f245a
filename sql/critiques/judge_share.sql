-- Which rows of an RL set stay, so that rows for judging make up a set share of it (Critique-Coder, SPARK).
--
-- what:   all other rows stay; of the judge rows as many as make $share of what is kept, by lot:
--             floor($share * num_others / (1 - $share)), at most all.
-- in:     mixed_rows
-- params: $share (below 1), $salt
-- out:    one row per row (position, kept, reason, score), by position
-- note:   a row of unknown kind is one of the others. Without others no judge row stays. `score` is the lot, in [0, 1).

with drawn as (
    select
        position,
        coalesce(is_judge, false) as is_judge,
        md5_number_lower(concat(row_id, chr(1), $salt)) / 18446744073709551616.0 as lot
    from mixed_rows
),

budgets as (
    select floor($share * count(*) filter (where not is_judge) / (1 - $share) + 1e-9) as budget
    from drawn
),

ranked as (
    select *, row_number() over (partition by is_judge order by lot, position) as place
    from drawn
),

decided as (
    select position, lot, if(is_judge and place > budget, 'over_share', null) as reason
    from ranked, budgets
)

select position, reason is null as kept, reason, lot as score
from decided
order by position
