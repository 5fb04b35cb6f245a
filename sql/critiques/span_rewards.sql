-- Rewards of steps from a critic's verdicts on them, beside the outcome (DRLC).
--
-- what:   a step that the critic calls wrong has the intrinsic reward -1, one that it calls right +1 with
--         $reward_right, else 0; the last step adds the outcome:
--             r_i = $intrinsic_weight * intrinsic_i + $outcome_weight * outcome * [i is the last step]
-- in:     judged_steps
-- params: $intrinsic_weight, $outcome_weight, $reward_right
-- out:    one row per solution (position, step_rewards, reason), by position
-- note:   no verdicts: no_verdicts; a verdict that is neither right nor wrong: unreadable_verdict; an outcome that is
--         missing or no number: no_outcome. Then there are no rewards.

with judged as (
    select
        *,
        case
            when step_verdicts is null or len(step_verdicts) = 0 then 'no_verdicts'
            when len(list_filter(step_verdicts, lambda said: said is null or said not in ('right', 'wrong'))) > 0
                then 'unreadable_verdict'
            when outcome_reward is null or not isfinite(outcome_reward) then 'no_outcome'
        end as reason
    from judged_steps
)

select
    position,
    if(
        reason is null,
        list_transform(
            step_verdicts,
            lambda said, i:
                $intrinsic_weight * if(said = 'wrong', -1.0, if($reward_right, 1.0, 0.0))
                + if(i = len(step_verdicts), $outcome_weight * outcome_reward, 0.0)
        ),
        null
    ) as step_rewards,
    reason
from judged
order by position
