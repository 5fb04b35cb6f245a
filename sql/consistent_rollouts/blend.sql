-- Rewards with the mean step score added: the baseline of PROF (arXiv 2509.03403).
--
-- what:   blended_reward = outcome + $weight * mean step score  (the paper's code adds the second to the first token)
-- in:     samples
-- params: $weight
-- out:    one row per sample (position, blended_reward), by position
-- note:   a sample without steps has a mean of 0; without a grade, step scores, or with a broken one, there is no reward.

select
    position,
    case
        when outcome_reward not in (0.0, 1.0) or step_values is null then null
        when len(list_filter(step_values, lambda value: value is null or not isfinite(value))) > 0 then null
        else outcome_reward + $weight * coalesce(list_avg(step_values), 0.0)
    end as blended_reward
from samples
order by position
