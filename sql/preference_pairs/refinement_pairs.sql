-- A refinement against the answer that it started from.
--
-- what:   Where the refinement is graded higher it is chosen; with $both_ways also the other way round, where it made a
--         right answer wrong.
-- in:     refined_responses
-- params: $both_ways
-- out:    pair_candidates
-- note:   equal grades give no pair.

with improved as (
    select *, refinement_reward > original_reward as is_better
    from refined_responses
    where refinement_reward <> original_reward
        and (refinement_reward > original_reward or $both_ways)
)

select
    problem_id,
    prompt,
    if(is_better, refinement, original) as chosen,
    if(is_better, original, refinement) as rejected,
    if(is_better, refinement_reward, original_reward) as chosen_score,
    if(is_better, original_reward, refinement_reward) as rejected_score,
    null::double as soft_label,
    1.0::double as weight,
    policy as chosen_policy,
    policy as rejected_policy,
    if(is_better, refinement_id, original_id) as chosen_id,
    if(is_better, original_id, refinement_id) as rejected_id,
    1::bigint as place,
    md5(refinement_id) as tie
from improved
