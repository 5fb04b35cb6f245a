-- preference_pairs: the pairs of all methods of a night, each with its id.
--
-- in:     mined_pairs (distinct)
-- params: $night
-- out:    one row per pair
-- note:   ids come from the texts, so the same pair has the same id in every run.

select
    left(sha256(concat_ws(chr(31), kind, $night, problem_id, prompt, chosen, rejected)), 20) as pair_id,
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
from mined_pairs
order by position
