-- Which samples RAFT keeps: right ones, at most so many per group (arXiv 2304.06767, as in 2504.11343).
--
-- in:     samples
-- params: $max_per_group (null = all), $salt
-- out:    one row per sample (position, kept, reason, score = outcome), by position
-- note:   where a group has more right answers than wanted, a seeded lot decides; their rewards are equal.

with judged as (
    select
        position,
        rollout_id,
        group_id,
        outcome_reward,
        case
            when group_id is null then 'not_in_group'
            when outcome_reward is null or outcome_reward not in (0.0, 1.0) then 'ungraded'
            when outcome_reward = 0.0 then 'wrong_answer'
        end as exclusion
    from samples
),

ranked as (
    select
        *,
        row_number() over (
            partition by group_id, exclusion is null
            order by md5_number_lower(concat(rollout_id, $salt)), rollout_id, position
        ) as place
    from judged
),

decided as (
    select
        position,
        case
            when exclusion is not null then exclusion
            when place > $max_per_group::bigint then 'over_limit'
        end as reason,
        if(outcome_reward in (0.0, 1.0), outcome_reward, null) as score
    from ranked
)

select position, reason is null as kept, reason, score
from decided
order by position
