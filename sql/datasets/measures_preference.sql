-- What is compared of two versions' preference rows.
--
-- in:     preference, prompts
-- out:    one row per row; lengths in characters
-- note:   family and difficulty are known where the version has the set prompts.

with kinds as (
    select problem_id, any_value(family) as family, any_value(difficulty) as difficulty from prompts group by problem_id
)

select
    len(preference.chosen) as chosen_length,
    len(preference.rejected) as rejected_length,
    len(preference.chosen) - len(preference.rejected) as length_gap,
    preference.margin,
    preference.chosen_score,
    preference.rejected_score,
    preference.soft_label,
    preference.weight,
    preference.method,
    kinds.family,
    kinds.difficulty
from preference
left join kinds on kinds.problem_id = preference.problem_id
