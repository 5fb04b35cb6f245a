-- The statements of the held-out problems, the frozen evaluation problems among them.
--
-- in:  problems
-- out: one row per problem, by id

select problem_id, prompt
from problems
where split = 'held_out' or is_evaluation
order by problem_id
