-- The distinct prompts of each training set of a night.
--
-- in:     sft, preference, stepwise, prompts, rl_groups, problems
-- params: $night
-- out:    one row per set and prompt, with its number of rows; position counts them from 0
-- note:   rl_groups has token ids only, so its prompts are the problems' statements.

with texts as (
    select 'sft' as set_name, prompt as text from sft where night = $night
    union all
    select 'preference', prompt from preference where night = $night
    union all
    select 'stepwise', prompt from stepwise where night = $night
    union all
    select 'prompts', prompt from prompts where night = $night
    union all
    select 'rl_groups', problems.prompt
    from rl_groups
    join problems on problems.problem_id = rl_groups.problem_id
    where rl_groups.night = $night
),

counted as (
    select set_name, text, count(*) as num_rows from texts group by set_name, text
)

select row_number() over (order by set_name, text) - 1 as position, set_name, text, num_rows
from counted
order by position
