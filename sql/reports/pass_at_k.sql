-- How often does at least one of k samples solve a frozen evaluation problem, night by night?
--
-- what:   1 - C(n - c, k) / C(n, k) of a problem with n graded samples of which c are right (arXiv 2107.03374), averaged
-- in:     evaluation_rollouts
-- out:    one row per night, policy and k (night, policy_version, k, pass, num_problems)
-- note:   k doubles from 1; a problem counts for the k of which it has that many graded samples.

with counted as (
    select
        night,
        any_value(policy_version) as policy_version,
        problem_id,
        count(outcome_reward) as n,
        coalesce(sum(outcome_reward), 0)::bigint as c
    from evaluation_rollouts
    group by night, problem_id
),

sized as (
    select *, unnest([1, 2, 4, 8, 16, 32, 64, 128, 256]) as k
    from counted
),

passed as (
    select
        *,
        1 - coalesce(
            list_aggregate(list_transform(range(k), lambda i: greatest(n - c - i, 0) / (n - i)), 'product'), 1
        ) as pass
    from sized
    where k <= n
)

select night, any_value(policy_version) as policy_version, k, avg(pass) as pass, count(*) as num_problems
from passed
group by night, k
order by night, k
