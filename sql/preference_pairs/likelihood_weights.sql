-- Weights by how likely both sides are under the policy (WPO, arXiv 2406.11827, equation 2).
--
-- what:   w(y) = exp(mean over tokens of (log pi(y_t) - log sum_v pi(v)^2)), the sampled alignment, or without the second
--         term where $alignment is none; weight = w(chosen) * w(rejected).
-- in:     known_pairs
-- params: $alignment (sampled | none)
-- out:    one row per pair, by position: kept, reason, score and weight_factor = weight
-- note:   a side without log-probabilities, or without those that the alignment needs, leaves the weight as it was.

with aligned as (
    select
        position,
        if(
            $alignment = 'none',
            chosen_logprobs,
            list_transform(list_zip(chosen_logprobs, chosen_square_logprobs), lambda two: two[1] - two[2])
        ) as chosen_terms,
        if(
            $alignment = 'none',
            rejected_logprobs,
            list_transform(list_zip(rejected_logprobs, rejected_square_logprobs), lambda two: two[1] - two[2])
        ) as rejected_terms
    from known_pairs
),

weighed as (
    select
        position,
        exp(list_avg(chosen_terms)) * exp(list_avg(rejected_terms)) as weight,
        len(list_filter(list_concat(chosen_terms, rejected_terms), lambda term: term is null or not isfinite(term))) = 0
        as is_known
    from aligned
)

select
    position,
    true as kept,
    null::varchar as reason,
    if(is_known, weight, null) as score,
    if(is_known, weight, null) as weight_factor
from weighed
order by position
