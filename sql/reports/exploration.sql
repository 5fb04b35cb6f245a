-- How many different right solutions do the night's samples find?
--
-- what:   exploration as B-STaR measures it (arXiv 2412.17256): Pass@K-S is the share of problems with at least S distinct
--         right solutions among their K samples; a solution is its steps, word for word.
-- in:     rollouts
-- params: $night
-- out:    one row per S of 1, 2, 4, 8 (num_solutions, share_of_problems, num_problems, samples_per_problem)

with counted as (
    select
        problem_id,
        count(*) as num_samples,
        count(distinct array_to_string(steps, chr(10))) filter (where outcome_reward = 1.0) as num_right
    from rollouts
    where night = $night and group_id is not null and outcome_reward is not null
    group by problem_id
),

sized as (
    select *, unnest([1, 2, 4, 8]) as num_solutions
    from counted
)

select
    num_solutions,
    avg((num_right >= num_solutions)::int) as share_of_problems,
    count(*) as num_problems,
    avg(num_samples) as samples_per_problem
from sized
group by num_solutions
order by num_solutions
