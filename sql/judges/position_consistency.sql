-- How often does a judge say the same of a pair whichever answer is shown first?
--
-- what:   the two orders of a pair are the rows of one judge and pair_id in which first_id and second_id are exchanged.
--         consistent: both name the same winner, or both a tie; flipped: each names another winner, so that the judge
--         followed the position (the first one twice, or the second one twice); half tie: one names a tie alone.
--         inconsistency = (flipped + half ties) / pairs
-- in:     judge_verdicts
-- out:    one row per judge: pairs with both orders, how they agree, and what could not be compared
-- note:   of several rows of one order the first by position counts. Pairs with one order only, or with a verdict that
--         is not first, second or tie, are counted apart and have no part in the rate.

with distinct_rows as (
    select *, coalesce(verdict, '') in ('first', 'second', 'tie') as is_readable
    from judge_verdicts
    qualify row_number() over (partition by judge, pair_id, first_id, second_id order by position) = 1
),

sided as (
    select
        judge,
        pair_id,
        least(first_id, second_id) as low_id,
        greatest(first_id, second_id) as high_id,
        first_id < second_id as is_low_first,
        is_readable,
        verdict,
        case verdict when 'first' then first_id when 'second' then second_id else '' end as winner
    from distinct_rows
    where first_id != second_id
),

both_orders as (
    select
        judge,
        bool_and(is_readable) as is_readable,
        count(*) as num_orders,
        min(winner) = max(winner) as is_same,
        min(verdict) = max(verdict) and min(verdict) != 'tie' as is_position,
        min(verdict) as one_verdict
    from sided
    group by judge, pair_id, low_id, high_id
),

counts as (
    select
        judge,
        count(*) filter (where num_orders = 2 and is_readable) as num_pairs,
        count(*) filter (where num_orders = 2 and is_readable and is_same) as num_consistent,
        count(*) filter (where num_orders = 2 and is_readable and is_position and one_verdict = 'first')
            as num_first_twice,
        count(*) filter (where num_orders = 2 and is_readable and is_position and one_verdict = 'second')
            as num_second_twice,
        count(*) filter (where num_orders = 2 and is_readable and not is_same and not is_position) as num_half_ties,
        count(*) filter (where num_orders = 1) as num_one_order,
        count(*) filter (where num_orders = 2 and not is_readable) as num_unreadable
    from both_orders
    group by judge
)

select
    judge,
    num_pairs,
    num_consistent,
    num_first_twice,
    num_second_twice,
    num_half_ties,
    num_one_order,
    num_unreadable,
    1 - num_consistent / nullif(num_pairs, 0) as inconsistency
from counts
order by judge nulls first
