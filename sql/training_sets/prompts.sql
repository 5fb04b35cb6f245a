-- prompts: prompts alone with their reference answers, for trainers that generate for themselves.
--
-- in:     problems (training split, `prompt` = the exact policy prompt)
-- params: $night
-- out:    one row per training problem with a distinct prompt

select prompt, reference_answer, problem_id, family, difficulty, $night::varchar as night
from problems
where split = 'train'
qualify row_number() over (partition by prompt order by problem_id) = 1
order by problem_id
