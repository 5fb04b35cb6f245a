-- Groups in which PROF could have kept right and wrong rollouts in more equal numbers (arXiv 2509.03403).
--
-- in:  consistency_results, rollouts
-- out: offending rows (table_name, row_id, night, what), one per group and method
-- note: of n_right and n_wrong ranked rollouts m are kept. Between max(0, m - n_wrong) and min(n_right, m) of them can
--       be right, and the kept numbers differ least where that is nearest to m / 2; the difference is odd where m is.
--       Methods count as PROF by the reasons that scored rollouts have; those without a score took no part in the
--       ranking, and of a list of filters only the last one scores.

with prof_methods as (
    select distinct night, method
    from consistency_results
    where reason in ('low_consistency', 'balance_random') and score is not null
),

groups as (
    select
        results.night,
        results.method,
        results.group_id,
        count(*) filter (where rollouts.outcome_reward = 1) as num_right,
        count(*) filter (where rollouts.outcome_reward = 0) as num_wrong,
        count(*) filter (where results.kept and rollouts.outcome_reward = 1) as kept_right,
        count(*) filter (where results.kept and rollouts.outcome_reward = 0) as kept_wrong
    from consistency_results as results
    join prof_methods on prof_methods.method = results.method and prof_methods.night = results.night
    join rollouts on rollouts.rollout_id = results.rollout_id
    where results.score is not null
    group by results.night, results.method, results.group_id
),

bounds as (
    select
        *,
        kept_right + kept_wrong as kept,
        greatest(0, kept - num_wrong) as fewest_right,
        least(num_right, kept) as most_right,
        greatest(fewest_right, least(most_right, kept // 2)) as best_right
    from groups
)

select
    'consistency_results' as table_name,
    group_id || ' ' || method as row_id,
    night,
    format('of {} right and {} wrong, {} and {} were kept', num_right, num_wrong, kept_right, kept_wrong) as what
from bounds
where abs(kept_right - kept_wrong) > abs(2 * best_right - kept)
order by row_id, night
