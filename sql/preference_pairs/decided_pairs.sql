-- The pairs that a filter kept, weighed and turned round as it said.
--
-- what:   A decision's soft label and margin stand instead of the pair's, its weight is multiplied with the pair's; null
--         leaves each as it was. A pair that is turned round has its sides, scores and policies exchanged.
-- in:     mined_pairs, pair_decisions
-- params: none
-- out:    mined_pairs, one row per kept pair, by position
-- note:   the margin of a pair that is turned round changes its sign, unless the decision has one.

with kept as (
    select
        pair.*,
        coalesce(decision.is_flipped, false) as turned,
        decision.new_soft_label as new_label,
        decision.new_margin,
        decision.weight_factor as factor
    from mined_pairs as pair
    inner join pair_decisions as decision on decision.position = pair.position
    where decision.kept
)

select
    position,
    problem_id,
    kind,
    method,
    prompt,
    if(turned, rejected, chosen) as chosen,
    if(turned, chosen, rejected) as rejected,
    coalesce(new_margin, if(turned, -margin, margin)) as margin,
    if(turned, rejected_score, chosen_score) as chosen_score,
    if(turned, chosen_score, rejected_score) as rejected_score,
    coalesce(new_label, soft_label) as soft_label,
    weight * coalesce(factor, 1.0) as weight,
    if(turned, rejected_policy, chosen_policy) as chosen_policy,
    if(turned, chosen_policy, rejected_policy) as rejected_policy,
    if(turned, rejected_id, chosen_id) as chosen_id,
    if(turned, chosen_id, rejected_id) as rejected_id
from kept
order by position
