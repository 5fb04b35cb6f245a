-- What is compared of two versions' sft rows.
--
-- in:     sft, prompts
-- out:    one row per row; lengths in characters
-- note:   family and difficulty are known where the version has the set prompts.

with kinds as (
    select problem_id, any_value(family) as family, any_value(difficulty) as difficulty from prompts group by problem_id
)

select
    len(sft.prompt) as prompt_length,
    len(sft.completion) as completion_length,
    sft.origin,
    kinds.family,
    kinds.difficulty
from sft
left join kinds on kinds.problem_id = sft.problem_id
