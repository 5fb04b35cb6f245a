-- A problem as its lineage tells it.
--
-- in:     problems
-- params: $problem_id
-- out:    one row, or none

select problem_id, family, difficulty, prompt, reference_answer, split, is_evaluation, source, source_line
from problems
where problem_id = $problem_id
