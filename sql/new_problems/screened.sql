-- Which posed problems are new and no test: known, repeated and held-out ones have a reason.
--
-- what:   `held_out`: the statement falls on the held-out side of the split, or a held-out or evaluation problem has its
--         canonical form, whatever its family; `duplicate`: a training problem of its family has it; `repeated`: an
--         earlier candidate of its family has it
-- in:     posed_problems, problems (all that are known, held-out ones too)
-- params:
-- out:    one row per posed problem (position, reason), by position; reason null where it passes
-- note:   of equal candidates the first by position passes, if any does. A candidate without a canonical form is not
--         looked at here: it has its own reason.

with known as (
    select family, canonical, bool_or(split <> 'train' or is_evaluation) as is_held_out
    from problems
    group by family, canonical
),

places as (
    select
        position,
        row_number() over (partition by family, canonical order by position) as place
    from posed_problems
    where canonical is not null
)

select
    posed.position,
    case
        when posed.canonical is null then null
        when posed.split <> 'train' then 'held_out'
        when exists (select 1 from known where known.canonical = posed.canonical and known.is_held_out) then 'held_out'
        when exists (select 1 from known where known.canonical = posed.canonical and known.family = posed.family)
            then 'duplicate'
        when places.place > 1 then 'repeated'
    end as reason
from posed_problems as posed
left join places on places.position = posed.position
order by posed.position
