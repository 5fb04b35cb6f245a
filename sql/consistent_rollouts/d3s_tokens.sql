-- Which tokens of a batch D3S trains on: those with the largest |advantage| * entropy (arXiv 2509.22115).
--
-- in:     token_samples
-- params: $keep_share (K)
-- out:    one row per sample (position, token_mask: one boolean per token), by position
-- note:   the share is of all tokens of the input, rounded up; of equal ones those of the smaller rollout id, then the
--         earlier ones, stay. A token without a number is out; a sample without entropies or advantage has no mask.

with tokens as (
    select
        position,
        rollout_id,
        generate_subscripts(token_entropies, 1) as place,
        round(abs(advantage) * unnest(token_entropies), 9) as weight
    from token_samples
    where token_entropies is not null and isfinite(advantage)
),

ranked as (
    select
        *,
        row_number() over (
            order by if(isfinite(weight), weight, null) desc nulls last, rollout_id, position, place
        ) as rank,
        count(*) over () as num_tokens
    from tokens
),

masks as (
    select
        position,
        list(
            coalesce(isfinite(weight), false) and rank <= ceil(round($keep_share * num_tokens, 9)) order by place
        ) as token_mask
    from ranked
    group by position
)

select
    token_samples.position,
    case
        when token_samples.token_entropies is null or not isfinite(token_samples.advantage) then null
        when token_samples.advantage is null then null
        else coalesce(masks.token_mask, [])
    end as token_mask
from token_samples
left join masks on masks.position = token_samples.position
order by token_samples.position
