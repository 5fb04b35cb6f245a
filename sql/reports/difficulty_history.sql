-- How hard was each problem for the policies that tried it?
--
-- in:  rollouts
-- out: one row per problem and night with graded independent samples: num_graded, pass_rate, policy_version, state
--      (unsolved | mixed | solved), state_before (null = first time), nights_solved (in a row up to this one)
-- note: trees are left out: their rollouts are not independent.

with graded as (
    select
        problem_id,
        night,
        count(*) as num_graded,
        avg(outcome_reward) as pass_rate,
        max(policy_version) as policy_version
    from rollouts
    where group_id is not null and outcome_reward is not null
    group by problem_id, night
),

named as (
    select
        *,
        case pass_rate when 0.0 then 'unsolved' when 1.0 then 'solved' else 'mixed' end as state,
        sum((pass_rate < 1.0)::int) over (partition by problem_id order by night) as streak
    from graded
)

select
    problem_id,
    night,
    num_graded,
    pass_rate,
    policy_version,
    state,
    lag(state) over (partition by problem_id order by night) as state_before,
    sum((state = 'solved')::int) over (partition by problem_id, streak order by night)::bigint as nights_solved
from named
order by problem_id, night
