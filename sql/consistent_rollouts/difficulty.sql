-- Which problems are neither surely too easy nor surely too hard, by how often they were solved.
--
-- what:   rate = num_right / num_tried, with Wilson's interval at 95 %; a problem goes when the whole interval lies above
--         $max_rate or below $min_rate, so that 0 of 8 is no proof of a hopeless problem
-- in:     problem_counts
-- params: $min_rate, $max_rate
-- out:    one row per problem (position, kept, reason, score = rate, low, high), by position
-- note:   a problem that was never tried is kept without a score.

with rates as (
    select
        position,
        num_right / nullif(num_tried, 0) as rate,
        pow(1.959964, 2) / nullif(num_tried, 0) as weight,
        num_tried
    from problem_counts
),

intervals as (
    select
        position,
        rate,
        (rate + weight / 2) / (1 + weight) as middle,
        1.959964 * sqrt(rate * (1 - rate) / num_tried + weight / (4 * num_tried)) / (1 + weight) as half
    from rates
),

decided as (
    select
        position,
        rate as score,
        middle - half as low,
        middle + half as high,
        case when middle - half > $max_rate then 'too_easy' when middle + half < $min_rate then 'too_hard' end as reason
    from intervals
)

select position, reason is null as kept, reason, score, low, high
from decided
order by position
