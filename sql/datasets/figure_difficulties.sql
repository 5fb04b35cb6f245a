-- Rows per set and difficulty of the problem.
--
-- in:     sft, preference, stepwise, rl_groups, problems
-- params: $night
-- out:    one row per set and difficulty (null = the source does not say), with its number of rows

with rows_of_sets as (
    select 'sft' as series, problem_id from sft where night = $night
    union all
    select 'preference', problem_id from preference where night = $night
    union all
    select 'stepwise', problem_id from stepwise where night = $night
    union all
    select 'rl_groups', problem_id from rl_groups where night = $night
)

select rows_of_sets.series, problems.difficulty as x, count(*) as num_rows
from rows_of_sets
left join problems on problems.problem_id = rows_of_sets.problem_id
group by rows_of_sets.series, problems.difficulty
order by series, x
