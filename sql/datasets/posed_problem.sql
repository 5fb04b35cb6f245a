-- How a policy posed a problem, as its lineage tells it.
--
-- in:     new_problems
-- params: $problem_id
-- out:    one row per night on which the problem was posed and kept, the latest last; none where nobody posed it

select candidate_id, method, source_problem_id, answer_margin, answered_by, answerability, faithfulness, agreement,
    request_id, request_ids, night
from new_problems
where problem_id = $problem_id and kept
order by night, candidate_id
