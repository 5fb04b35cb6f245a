-- preference_pairs: the pairs of all methods of a night, each with its id.
--
-- in:     mined_pairs (the position counts over all methods, in the order in which they are configured)
-- params: $night
-- out:    one row per pair
-- note:   ids come from the texts, so the same pair has the same id in every run; a pair that several methods of one kind
--         found is one pair, of the first of them.

with named as (
    select
        left(sha256(concat_ws(chr(31), kind, $night, problem_id, prompt, chosen, rejected)), 20) as pair_id,
        *
    from mined_pairs
),

first_found as (
    select *
    from named
    qualify row_number() over (partition by pair_id order by position) = 1
)

select
    pair_id,
    problem_id,
    kind,
    method,
    prompt,
    chosen,
    rejected,
    margin,
    chosen_score,
    rejected_score,
    soft_label,
    weight,
    chosen_policy,
    rejected_policy,
    chosen_id,
    rejected_id,
    $night::varchar as night
from first_found
order by position
