-- Rows of the training sets of a night whose problem is held out (there should be none), or is not known.
--
-- in:     sft, preference, stepwise, prompts, rl_groups, problems
-- params: $night
-- out:    one row per set that has rows, with the number of rows of held-out problems, of those of frozen evaluation
--         problems, and of rows whose problem is not in `problems`, which may be either

with rows_of_sets as (
    select 'sft' as set_name, problem_id from sft where night = $night
    union all
    select 'preference', problem_id from preference where night = $night
    union all
    select 'stepwise', problem_id from stepwise where night = $night
    union all
    select 'prompts', problem_id from prompts where night = $night
    union all
    select 'rl_groups', problem_id from rl_groups where night = $night
)

select
    rows_of_sets.set_name,
    count(*) filter (where problems.split = 'held_out') as num_held_out,
    count(*) filter (where problems.is_evaluation) as num_evaluation,
    count(*) filter (where problems.problem_id is null) as num_unknown
from rows_of_sets
left join problems on problems.problem_id = rows_of_sets.problem_id
group by rows_of_sets.set_name
order by rows_of_sets.set_name
