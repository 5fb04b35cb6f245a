-- preference: pairs with an explicit prompt, for preference optimisation.
--
-- what:   preference_pairs of training problems in the columns of the trainers.
-- in:     problems (training split), preference_pairs (`prompt` = exact policy prompt and shared prefix)
-- params: $night
-- out:    one row per distinct (prompt, chosen, rejected)
-- note:   pairs of a policy's answers after and before an update (policy_shift) are for reward models, not for the policy.
--         A pair found both ways round (chosen here, rejected there) contradicts itself; both are dropped. Pairs
--         of critiques answer another prompt than the policy's and stay in preference_pairs.

with pairs as (
    select preference_pairs.*
    from preference_pairs
    inner join problems on problems.problem_id = preference_pairs.problem_id
    where problems.split = 'train' and coalesce(preference_pairs.kind, '') not in ('critique', 'policy_shift')
),

distinct_pairs as (
    select *
    from pairs
    qualify row_number() over (partition by prompt, chosen, rejected order by margin desc, pair_id) = 1
)

select
    pair.prompt,
    pair.chosen,
    pair.rejected,
    pair.margin,
    pair.chosen_score,
    pair.rejected_score,
    pair.soft_label,
    pair.weight,
    pair.method,
    pair.problem_id,
    pair.pair_id,
    $night::varchar as night
from distinct_pairs as pair
anti join distinct_pairs as opposite
    on opposite.prompt = pair.prompt
    and opposite.chosen = pair.rejected
    and opposite.rejected = pair.chosen
order by pair.problem_id, pair.pair_id
