-- What is compared of two versions' rl_groups rows.
--
-- in:     rl_groups, prompts
-- out:    one row per row; lengths in tokens
-- note:   family and difficulty are known where the version has the set prompts.

with kinds as (
    select problem_id, any_value(family) as family, any_value(difficulty) as difficulty from prompts group by problem_id
)

select
    len(rl_groups.prompt_token_ids) as prompt_tokens,
    len(rl_groups.completion_token_ids) as completion_tokens,
    rl_groups.reward,
    rl_groups.advantage,
    rl_groups.loss_weight,
    list_avg(rl_groups.behaviour_logprobs) as mean_logprob,
    left(rl_groups.policy_version, 12) as policy,
    kinds.family,
    kinds.difficulty
from rl_groups
left join kinds on kinds.problem_id = rl_groups.problem_id
