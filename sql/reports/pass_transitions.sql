-- Which problems were unsolved, mixed or solved before, and which are now?
--
-- what:   a problem is unsolved, mixed or solved where none, some or all of its graded independent samples are right.
--         Before is the last earlier night with graded samples of the same problem.
-- in:     rollouts, evaluation_rollouts
-- params: $night
-- out:    one row per kind of problem and change (problems: evaluation | training; before, after, num_problems)
-- note:   problems that were not sampled before are not counted.

with graded as (
    select 'training' as problems, night, problem_id, outcome_reward
    from rollouts
    where group_id is not null and outcome_reward is not null and night <= $night
    union all
    select 'evaluation', night, problem_id, outcome_reward
    from evaluation_rollouts
    where outcome_reward is not null and night <= $night
),

states as (
    select
        problems,
        problem_id,
        night,
        case avg(outcome_reward) when 0.0 then 'unsolved' when 1.0 then 'solved' else 'mixed' end as state
    from graded
    group by problems, problem_id, night
),

changes as (
    select
        problems,
        night,
        lag(state) over (partition by problems, problem_id order by night) as before,
        state as after
    from states
)

select problems, before, after, count(*) as num_problems
from changes
where night = $night and before is not null
group by problems, before, after
order by problems, before, after
