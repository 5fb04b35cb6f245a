-- Tokens of the training sets that carry token ids.
--
-- in:     rl_groups
-- params: $night
-- out:    one row per set with rows

select
    'rl_groups' as set_name,
    sum(len(prompt_token_ids)) as num_prompt_tokens,
    sum(len(completion_token_ids)) as num_completion_tokens
from rl_groups
where night = $night
having count(*) > 0
