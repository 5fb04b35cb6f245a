-- Pairs of several methods, each once: of equal ones of one kind the first.
--
-- in:     mined_pairs (the position counts over all methods, in the order in which they are configured)
-- params: none
-- out:    mined_pairs, one row per pair, by position
-- note:   so a weight or filter sees every pair once, and what it turned round cannot be there twice.

select *
from mined_pairs
qualify row_number() over (partition by kind, problem_id, prompt, chosen, rejected order by position) = 1
order by position
