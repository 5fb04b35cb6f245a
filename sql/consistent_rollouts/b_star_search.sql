-- How well every sampling configuration would do by B-STaR's query effect, and which one is best (arXiv 2412.17256).
--
-- what:   For every temperature of the pool, number of samples and threshold: of a problem's samples those with
--         score > threshold are selected (score as in b_star, at most $max_per_problem, highest first); with n
--         selected of which n' are right,
--             query effect = min(n' / $num_wanted, 1) * n' / n
--         and a configuration's is the mean over the problems with n >= 1. `query_effect_all` is the mean over all
--         problems (0 where nothing was selected), which also punishes lost coverage.
-- in:     pool_rollouts
-- params: $sample_counts, $thresholds, $num_wanted (n*), $max_per_problem, $by_all (choose by query_effect_all), $salt
-- out:    one row per temperature, number of samples and threshold
-- note:   which samples stand for a smaller number is a seeded lot. Of equal configurations the colder, then the smaller,
--         then the one with the lower threshold is best. Ungraded samples and broken step scores are left out.

with scored as (
    select
        problem_id,
        rollout_id,
        position,
        temperature,
        outcome_reward = 1.0 as is_right,
        round(coalesce(list_min(step_values), 0.0) / 5 + outcome_reward, 9) as score,
        row_number() over (
            partition by temperature, problem_id
            order by md5_number_lower(concat(rollout_id, $salt)), rollout_id, position
        ) as place
    from pool_rollouts
    where outcome_reward in (0.0, 1.0)
        and step_values is not null
        and len(list_filter(step_values, lambda value: value is null or not isfinite(value))) = 0
),

pools as (
    select
        scored.temperature,
        counts.num_samples,
        scored.problem_id,
        scored.is_right,
        scored.score,
        row_number() over (
            partition by scored.temperature, counts.num_samples, scored.problem_id
            order by scored.score desc, scored.rollout_id, scored.position
        ) as rank
    from scored
    inner join (select unnest($sample_counts::bigint[]) as num_samples) as counts on scored.place <= counts.num_samples
),

queries as (
    select
        pools.temperature,
        pools.num_samples,
        thresholds.threshold,
        pools.problem_id,
        count(*) filter (where pools.score > thresholds.threshold) as num_selected,
        count(*) filter (where pools.score > thresholds.threshold and pools.is_right) as num_right
    from pools
    cross join (select unnest($thresholds::double[]) as threshold) as thresholds
    where pools.rank <= $max_per_problem
    group by pools.temperature, pools.num_samples, thresholds.threshold, pools.problem_id
),

effects as (
    select *, least(num_right / $num_wanted, 1.0) * num_right / nullif(num_selected, 0) as effect
    from queries
),

configurations as (
    select
        temperature,
        num_samples,
        threshold,
        count(*) as num_problems,
        count(effect) as num_selected_problems,
        sum(num_selected)::bigint as num_selected,
        sum(num_right)::bigint as num_right,
        avg(effect) as query_effect,
        avg(coalesce(effect, 0.0)) as query_effect_all
    from effects
    group by temperature, num_samples, threshold
)

select
    *,
    row_number() over (
        order by
            round(if($by_all, query_effect_all, query_effect), 9) desc nulls last, temperature, num_samples, threshold
    ) = 1 as is_best
from configurations
order by temperature, num_samples, threshold
