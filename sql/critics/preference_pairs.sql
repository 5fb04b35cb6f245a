-- Preference pairs beside the statement of their problem, which the pair's prompt begins with.
--
-- in:   problems, preference_pairs
-- out:  one row per pair with a margin above 0
-- note: a pair without a margin says nothing of its strength and is left out.

select
    preference_pairs.pair_id,
    preference_pairs.problem_id,
    problems.prompt as statement,
    preference_pairs.prompt,
    preference_pairs.chosen,
    preference_pairs.rejected,
    preference_pairs.margin
from preference_pairs
inner join problems on problems.problem_id = preference_pairs.problem_id
where preference_pairs.margin > 0
order by preference_pairs.pair_id
