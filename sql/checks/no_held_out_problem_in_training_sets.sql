-- Training rows of held-out or evaluation problems, also where only the problem's canonical form is the same.
--
-- in:  sft, preference, stepwise, prompts, rl_groups, node_values, first_errors, splices, reflections, problems
-- out: offending rows (table_name, row_id, night, what), one per row

with training_rows as (
    select 'sft' as table_name, problem_id, night from sft
    union all
    select 'preference', problem_id, night from preference
    union all
    select 'stepwise', problem_id, night from stepwise
    union all
    select 'prompts', problem_id, night from prompts
    union all
    select 'rl_groups', problem_id, night from rl_groups
    union all
    select 'node_values', problem_id, night from node_values
    union all
    select 'first_errors', problem_id, night from first_errors
    union all
    select 'splices', problem_id, night from splices
    union all
    select 'reflections', problem_id, night from reflections
),

held_out as (
    select problem_id, family, canonical
    from problems
    where split <> 'train' or is_evaluation
),

forbidden as (
    select problem_id from held_out
    union
    select problems.problem_id
    from problems
    join held_out on held_out.family = problems.family and held_out.canonical = problems.canonical
)

select
    table_name,
    training_rows.problem_id as row_id,
    night,
    count(*) || ' training rows of a held-out problem' as what
from training_rows
join forbidden on forbidden.problem_id = training_rows.problem_id
group by table_name, training_rows.problem_id, night
order by table_name, row_id, night
