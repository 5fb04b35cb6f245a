-- Which samples of a batch D3S keeps: the subset of its size whose advantages vary most (arXiv 2509.22115).
--
-- what:   advantage = outcome - mean outcome of the group, divided by the group's deviation (n - 1) if $normalise.
--         Sorted by advantage, the subset of N with the largest variance is the j smallest and the N - j largest for
--         some j; every j is tried:  variance = sum of squares / N - (sum / N)^2
-- in:     samples
-- params: $num_kept (N of the whole batch; null = $keep_share of its graded samples, rounded up), $keep_share, $normalise
-- out:    one row per sample (position, kept, reason, score = advantage), by position
-- note:   the batch is the whole input: within one normalised group the variance is 1 whatever is kept. Of equal
--         variances the split nearest to N / 2 is taken, of equal advantages the smaller rollout id counts as smaller.

with judged as (
    select
        position,
        rollout_id,
        group_id,
        outcome_reward,
        case
            when group_id is null then 'not_in_group'
            when outcome_reward is null or outcome_reward not in (0.0, 1.0) then 'ungraded'
        end as exclusion
    from samples
),

advantages as (
    select
        position,
        rollout_id,
        round(
            (outcome_reward - avg(outcome_reward) over grouped)
            / if($normalise, coalesce(nullif(stddev_samp(outcome_reward) over grouped, 0.0), 1.0), 1.0),
            9
        ) + 0.0 as advantage
    from judged
    where exclusion is null
    window grouped as (partition by group_id)
),

sorted as (
    select
        position,
        advantage,
        row_number() over smaller as place,
        sum(advantage) over smaller as total,
        sum(advantage * advantage) over smaller as squares
    from advantages
    window smaller as (order by advantage, rollout_id, position rows unbounded preceding)
),

sizes as (
    select
        count(*) as num_rows,
        least(count(*), coalesce($num_kept::bigint, ceil(round($keep_share * count(*), 9))::bigint)) as num_kept,
        coalesce(max_by(total, place), 0.0) as total,
        coalesce(max_by(squares, place), 0.0) as squares
    from sorted
),

splits as (
    select
        sizes.num_rows,
        sizes.num_kept,
        numbers.num_low,
        (sizes.squares - coalesce(high.squares, 0.0) + coalesce(low.squares, 0.0)) / nullif(sizes.num_kept, 0)
        - pow((sizes.total - coalesce(high.total, 0.0) + coalesce(low.total, 0.0)) / nullif(sizes.num_kept, 0), 2)
            as variance
    from sizes
    cross join lateral (select unnest(range(0, sizes.num_kept + 1)) as num_low) as numbers
    left join sorted as low on low.place = numbers.num_low
    left join sorted as high on high.place = sizes.num_rows - sizes.num_kept + numbers.num_low
),

best as (
    select num_rows, num_kept, num_low
    from splits
    order by round(variance, 9) desc, abs(2 * num_low - num_kept), num_low
    limit 1
),

decided as (
    select
        judged.position,
        sorted.advantage as score,
        case
            when judged.exclusion is not null then judged.exclusion
            when sorted.place > best.num_low and sorted.place <= best.num_rows - best.num_kept + best.num_low
                then 'low_variance'
        end as reason
    from judged
    left join sorted on sorted.position = judged.position
    cross join best
)

select position, reason is null as kept, reason, score
from decided
order by position
