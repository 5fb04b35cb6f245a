-- Finished rollouts without exactly one reward of 0 or 1, and failed ones that have a reward.
--
-- in:  rollouts
-- out: offending rows (table_name, row_id, night, what), one per rollout
-- note: finished = finish_reason 'stop' and no error.

select
    'rollouts' as table_name,
    rollout_id as row_id,
    night,
    case
        when error is not null and outcome_reward is not null then 'failed, but has reward ' || outcome_reward
        when outcome_reward not in (0.0, 1.0) then 'reward ' || outcome_reward || ' is neither 0 nor 1'
        when error is null and finish_reason = 'stop' and outcome_reward is null then 'finished but not graded'
    end as what
from rollouts
where what is not null
order by row_id
