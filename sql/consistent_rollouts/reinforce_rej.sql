-- Which samples Reinforce-Rej keeps: those of groups with right and wrong answers (arXiv 2504.11343).
--
-- what:   a group whose graded rewards are all equal teaches nothing and goes as a whole. The others are trained on
--         with the raw reward instead of an advantage:  score = 2 * outcome - 1 if $signed, else the outcome
-- in:     samples
-- params: $signed
-- out:    one row per sample (position, kept, reason, score), by position
-- note:   with rewards of 0 and 1 the wrong answers have no weight, and it is RAFT on mixed groups: hence $signed.

with judged as (
    select
        position,
        outcome_reward,
        case
            when group_id is null then 'not_in_group'
            when outcome_reward is null or outcome_reward not in (0.0, 1.0) then 'ungraded'
        end as exclusion,
        min(if(outcome_reward in (0.0, 1.0), outcome_reward, null)) over (partition by group_id) as lowest,
        max(if(outcome_reward in (0.0, 1.0), outcome_reward, null)) over (partition by group_id) as highest
    from samples
),

decided as (
    select
        position,
        case
            when exclusion is not null then exclusion
            when lowest = 1.0 then 'all_right'
            when highest = 0.0 then 'all_wrong'
        end as reason,
        if(exclusion is null, if($signed, 2 * outcome_reward - 1, outcome_reward), null) as score
    from judged
)

select position, reason is null as kept, reason, score
from decided
order by position
