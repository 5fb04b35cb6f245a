-- Which answers statistical rejection sampling (RSO, arXiv 2309.06657) accepts, and in which order.
--
-- what:   Rounds over the candidates of a problem, in their order: r_max is the best reward of those that are left; each is
--         accepted with probability exp((r - r_max) / $beta); a round stops at the $num_accepted-th answer in all. What was
--         accepted leaves the pool.
-- in:     responses (with their position)
-- params: $beta, $num_accepted, $salt
-- out:    accepted_responses, one row per accepted answer
-- note:   equal texts are one candidate, the first; where there are fewer candidates than $num_accepted all of them are
--         accepted in the end. The draws are hashes of the answer's id, the round and the salt.

with recursive

candidates as (
    select concat_ws(chr(31), problem_id, group_id) as group_key, response_id, position, score
    from responses
    where isfinite(score) and response is not null
    qualify row_number() over (partition by concat_ws(chr(31), problem_id, group_id), response order by position) = 1
),

rounds as (
    select
        *,
        0::bigint as round,
        null::bigint as accepted_in,
        0::bigint as num_accepted,
        count(*) over (partition by group_key) as num_candidates
    from candidates
    union all
    select
        group_key,
        response_id,
        position,
        score,
        round,
        if(passes and num_accepted + num_before < $num_accepted, round, accepted_in) as accepted_in,
        least($num_accepted::bigint, num_accepted + num_passing) as num_accepted,
        num_candidates
    from (
        select
            *,
            count(*) filter (where passes) over (partition by group_key) as num_passing,
            count(*) filter (where passes) over (
                partition by group_key order by position rows between unbounded preceding and 1 preceding
            ) as num_before
        from (
            select
                * replace (round + 1 as round),
                accepted_in is null
                and (md5_number_lower(concat(response_id, ':', round, ':', $salt)) >> 11) / 9007199254740992.0
                < exp((score - max(score) filter (where accepted_in is null) over (partition by group_key)) / $beta)
                as passes
            from rounds
            where num_accepted < least($num_accepted::bigint, num_candidates)
        )
    )
)

select
    group_key,
    response_id,
    position,
    accepted_in as round,
    row_number() over (partition by group_key order by accepted_in, position) - 1 as seat
from rounds
where accepted_in is not null and accepted_in = round
