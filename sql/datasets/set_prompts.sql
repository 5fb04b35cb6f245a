-- The distinct problem statements behind each training set of a night.
--
-- in:     sft, preference, stepwise, prompts, rl_groups, problems
-- params: $night
-- out:    one row per set and text, with its number of rows; position counts them from 0
-- note:   the statement and not the set's own prompt: a template is no part of a problem, and its words would make a
--         short problem long enough to be tested and equal to nothing. A row whose problem is not in `problems` is
--         there with its own prompt; in rl_groups, which has token ids only, with null.

with rows_of_sets as (
    select 'sft' as set_name, problem_id, prompt from sft where night = $night
    union all
    select 'preference', problem_id, prompt from preference where night = $night
    union all
    select 'stepwise', problem_id, prompt from stepwise where night = $night
    union all
    select 'prompts', problem_id, prompt from prompts where night = $night
    union all
    select 'rl_groups', problem_id, null from rl_groups where night = $night
),

texts as (
    select rows_of_sets.set_name, coalesce(problems.prompt, rows_of_sets.prompt) as text
    from rows_of_sets
    left join problems on problems.problem_id = rows_of_sets.problem_id
),

counted as (
    select set_name, text, count(*) as num_rows from texts group by set_name, text
)

select row_number() over (order by set_name, text) - 1 as position, set_name, text, num_rows
from counted
order by position
