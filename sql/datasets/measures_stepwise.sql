-- What is compared of two versions' stepwise rows.
--
-- in:     stepwise, prompts
-- out:    one row per row; first_wrong_step from 0, null where no step is wrong
-- note:   family and difficulty are known where the version has the set prompts.

with kinds as (
    select problem_id, any_value(family) as family, any_value(difficulty) as difficulty from prompts group by problem_id
)

select
    len(stepwise.completions) as num_steps,
    nullif(list_position(stepwise.labels, false), 0) - 1 as first_wrong_step,
    list_avg(list_transform(stepwise.labels, lambda label: label::int)) as right_share,
    list_avg(stepwise.soft_labels) as mean_soft_label,
    list_sum(stepwise.visit_counts) as visits,
    kinds.family,
    kinds.difficulty
from stepwise
left join kinds on kinds.problem_id = stepwise.problem_id
