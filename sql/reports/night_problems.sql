-- How many problems a night searched and sampled.
--
-- in:     rollouts
-- params: $night
-- out:    one row (num_problems, num_search_problems, num_sample_problems)

select
    count(distinct problem_id) as num_problems,
    count(distinct problem_id) filter (where tree_id is not null) as num_search_problems,
    count(distinct problem_id) filter (where group_id is not null) as num_sample_problems
from rollouts
where night = $night
