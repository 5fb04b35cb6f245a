-- Preference pairs as prompts with a verifiable answer: which of two responses is better (LLaVA-Critic-R1, R1-Reward)?
--
-- what:   both sides in an order by lot (a hash of prompt, sides and $salt); the reference answer is the place of the
--         chosen one, 1 or 2.
-- in:     known_pairs
-- params: $salt
-- out:    one row per pair (position, first, second, reference_answer, reason), by position
-- note:   a pair with a missing or with equal sides has no answer but a reason: missing_side | equal_sides.

with judged as (
    select
        position,
        chosen,
        rejected,
        md5_number_lower(concat(prompt, chr(1), chosen, chr(1), rejected, chr(1), $salt)) % 2 = 0 as chosen_is_first,
        case
            when chosen is null or rejected is null then 'missing_side'
            when chosen = rejected then 'equal_sides'
        end as reason
    from known_pairs
)

select
    position,
    if(chosen_is_first, chosen, rejected) as first,
    if(chosen_is_first, rejected, chosen) as second,
    if(reason is null, if(chosen_is_first, '1', '2'), null) as reference_answer,
    reason
from judged
order by position
