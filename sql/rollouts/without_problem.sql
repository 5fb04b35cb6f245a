-- Rollouts of a night whose problem is no longer in the table of problems.
--
-- what:   the problems of a night are read when it begins. Where a file changes under it and the table is made again,
--         joins on it would lose these rollouts without a word.
-- in:     rollouts, problems
-- params: $night
-- out:    one row: num_rollouts, num_problems (distinct), example (a problem_id; null where there is none)

select
    count(*) as num_rollouts,
    count(distinct rollouts.problem_id) as num_problems,
    min(rollouts.problem_id) as example
from rollouts
left join problems on problems.problem_id = rollouts.problem_id
where rollouts.night = $night
    and problems.problem_id is null
