-- What a night's search and samples cost.
--
-- in:     token_usage
-- params: $night
-- out:    one row per stage

select
    stage,
    sum(num_requests) as num_requests,
    sum(prompt_tokens) as prompt_tokens,
    sum(completion_tokens) as completion_tokens,
    sum(critic_tokens) as critic_tokens
from token_usage
where night = $night
group by stage
order by stage
