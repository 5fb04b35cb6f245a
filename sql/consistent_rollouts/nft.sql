-- Which samples NFT trains on, and how much each counts (Negative-aware Fine-Tuning, arXiv 2505.18116).
--
-- what:   r = share of right samples of the group, all of them counted, before any filter; groups with r = 0 or r = 1
--         go. For the others r is clamped to [$min_rate, $max_rate], and every sample has the group's weight
--             1 - r  ($weighting one_minus_rate)   or   sqrt((1 - r) / r)  (square_root)   or 1  (none)
--         times $negative_weight where it is wrong.
-- in:     samples
-- params: $min_rate, $max_rate, $weighting, $negative_weight
-- out:    one row per sample (position, kept, reason, score = r, loss_weight), by position
-- note:   the losses, with R the ratio of the new to the old probability of a token:
--             right  -ln R        wrong  -ln max((1 - r R) / (1 - r), eps)

with judged as (
    select
        position,
        outcome_reward,
        case
            when group_id is null then 'not_in_group'
            when outcome_reward is null or outcome_reward not in (0.0, 1.0) then 'ungraded'
        end as exclusion,
        avg(if(outcome_reward in (0.0, 1.0), outcome_reward, null)) over (partition by group_id) as rate
    from samples
),

decided as (
    select
        position,
        outcome_reward,
        case
            when exclusion is not null then exclusion
            when rate = 1.0 then 'all_right'
            when rate = 0.0 then 'all_wrong'
        end as reason,
        if(exclusion is null, greatest(least(rate, $max_rate), $min_rate), null) as rate
    from judged
)

select
    position,
    reason is null as kept,
    reason,
    rate as score,
    if(
        reason is null,
        case $weighting when 'one_minus_rate' then 1 - rate when 'square_root' then sqrt((1 - rate) / rate) else 1.0 end
        * if(outcome_reward = 1.0, 1.0, $negative_weight),
        null
    ) as loss_weight
from decided
order by position
