-- Pass rates of the problems that were sampled, and of those that reached rl_groups.
--
-- in:     rollouts, rl_groups
-- params: $night
-- out:    one row per series and pass rate (share of right answers among a problem's graded samples), with its problems

with rates as (
    select problem_id, avg(outcome_reward) as pass_rate
    from rollouts
    where night = $night and group_id is not null and outcome_reward is not null
    group by problem_id
),

series as (
    select 'sampled' as series, pass_rate from rates
    union all
    select 'in rl_groups', pass_rate
    from rates
    where problem_id in (select problem_id from rl_groups where night = $night and loss_weight > 0)
)

select series, pass_rate as x, count(*) as num_rows
from series
group by series, pass_rate
order by series, x
