-- Does a critic's verdict match the label (the rule of critique reinforcement learning, Critique-Coder)?
--
-- what:   reward = 1 where the verdict is the solution's grade, else 0.
-- in:     judged_critiques
-- params:
-- out:    one row per critique (position, reward, reason), by position
-- note:   without a verdict or a grade there is no reward but a reason: no_verdict | no_grade.

select
    position,
    case
        when verdict in ('right', 'wrong') and original_reward in (0.0, 1.0)
            then (verdict = if(original_reward = 1.0, 'right', 'wrong'))::double
    end as reward,
    case
        when original_reward is null or original_reward not in (0.0, 1.0) then 'no_grade'
        when verdict is null or verdict not in ('right', 'wrong') then 'no_verdict'
    end as reason
from judged_critiques
order by position
