-- Which pairs stay so that longer texts are chosen no more often than shorter ones.
--
-- what:   With n+ pairs whose chosen side is longer and n- whose chosen side is shorter, the larger group loses those with
--         the narrowest margins until its share of the two is at most $max_share. Sides of equal length stay.
-- in:     known_pairs
-- params: $max_share, $salt
-- out:    one row per pair, by position: kept, reason, score = characters that chosen is longer by
-- note:   where one group is empty, all of the other go. Of equal margins a hash of the position decides.

with measured as (
    select position, margin, len(chosen) - len(rejected) as surplus
    from known_pairs
),

counted as (
    select
        *,
        count(*) filter (where surplus > 0) over () as num_longer,
        count(*) filter (where surplus < 0) over () as num_shorter,
        row_number() over (
            partition by sign(surplus)
            order by margin desc nulls last, md5_number_lower(concat(position, ':', $salt)), position
        ) as place
    from measured
),

allowed as (
    select
        *,
        surplus <> 0
        and place > floor(
            if(surplus > 0, num_shorter, num_longer) * $max_share::double / (1.0 - $max_share::double) + 1e-9
        ) as is_surplus
    from counted
)

select
    position,
    not is_surplus as kept,
    if(is_surplus, 'length_imbalance', null) as reason,
    surplus::double as score
from allowed
order by position
