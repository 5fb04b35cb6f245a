-- The problems whose ids look most like a text.
--
-- in:     problems
-- params: $problem_id
-- out:    at most three rows, the nearest first; the problem of that very id alone where there is one

select problem_id
from problems
where jaro_winkler_similarity(problem_id, $problem_id) >= 0.85
order by jaro_winkler_similarity(problem_id, $problem_id) desc, problem_id
limit 3
