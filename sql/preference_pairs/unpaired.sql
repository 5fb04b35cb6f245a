-- Pairs as single texts with a label, for KTO and its kin; or rejected texts alone (dispreference-only, D2O).
--
-- what:   Every distinct text of a prompt once: label true where it was chosen, false where it was rejected. A text that
--         was both is dropped. weight balances the classes: n_true * w_true / (n_false * w_false) is brought into
--         [1, 4/3], the smaller class up (KTO's advice).
-- in:     known_pairs
-- params: $only_rejected
-- out:    one row per text: problem_id, prompt, completion, label, weight
-- note:   with $only_rejected the texts that are ever rejected and never chosen, with weight 1.

with sides as (
    select problem_id, prompt, chosen as completion, true as label
    from known_pairs
    union
    select problem_id, prompt, rejected, false
    from known_pairs
),

texts as (
    select problem_id, prompt, completion, bool_and(label) as label
    from sides
    where completion is not null
    group by problem_id, prompt, completion
    having count(*) = 1
),

counts as (
    select
        count(*) filter (where label) as num_true,
        count(*) filter (where not label) as num_false
    from texts
)

select
    texts.problem_id,
    texts.prompt,
    texts.completion,
    texts.label,
    case
        when $only_rejected or num_true = 0 or num_false = 0 then 1.0
        when texts.label then greatest(1.0, num_false / num_true)
        else greatest(1.0, 0.75 * num_true / num_false)
    end as weight
from texts
cross join counts
where not $only_rejected or not texts.label
order by texts.problem_id, texts.prompt, texts.completion
