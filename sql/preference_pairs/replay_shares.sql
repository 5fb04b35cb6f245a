-- Which pairs of earlier iterations are used again (DNO, arXiv 2404.03715).
--
-- what:   All pairs of the latest iteration stay; of the one $replay_share, of the one before half of that, and so on:
--         floor($replay_share * n / 2^(age - 1)) of n pairs, by lot.
-- in:     known_pairs
-- params: $replay_share, $salt
-- out:    one row per pair, by position: kept, reason, score = age in iterations
-- note:   ages count the iterations that have pairs. A pair without iteration is `no_iteration`.

with aged as (
    select
        position,
        iteration,
        max(iteration) over () - iteration as distance,
        dense_rank() over (order by iteration desc nulls last) - 1 as age,
        count(*) over (partition by iteration) as num_pairs,
        row_number() over (
            partition by iteration order by md5_number_lower(concat(position, ':', $salt)), position
        ) as place
    from known_pairs
),

judged as (
    select
        *,
        case
            when iteration is null then 'no_iteration'
            when age > 0 and place > floor($replay_share::double * num_pairs / pow(2, age - 1) + 1e-9)
                then 'replay_limit'
        end as reason
    from aged
)

select position, reason is null as kept, reason, if(iteration is null, null, age)::double as score
from judged
order by position
