-- Pairs that a reward model is refreshed from: policy shifts, and the ranked answers that it learned from before.
--
-- in:   problems, preference_pairs
-- out:  one row per pair of kind policy_shift, and per pair of whole answers with a margin above 0; margin is 1 for all
-- note: Mutual-Taught (arXiv 2506.06292) trains on both with plain Bradley-Terry, so every pair is worth the same; the
--       margin of a policy shift may be below 0.

select
    preference_pairs.pair_id,
    preference_pairs.problem_id,
    problems.prompt as statement,
    preference_pairs.prompt,
    preference_pairs.chosen,
    preference_pairs.rejected,
    1.0::double as margin
from preference_pairs
inner join problems on problems.problem_id = preference_pairs.problem_id
where preference_pairs.kind = 'policy_shift' or (preference_pairs.kind = 'rollout' and preference_pairs.margin > 0)
order by preference_pairs.pair_id
