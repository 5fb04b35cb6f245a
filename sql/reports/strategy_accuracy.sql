-- How right is every way of answering the frozen evaluation problems, and what does it cost in all tokens?
--
-- in:     policy_report
-- params: $night
-- out:    one row per strategy (strategy, num_problems, accuracy, low, high, num_tokens), cheapest first
-- note:   num_tokens is the mean per problem of what the policy reads and writes and what a critic reads.

select
    strategy,
    num_problems,
    accuracy,
    low,
    high,
    coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0) + coalesce(critic_tokens, 0) as num_tokens
from policy_report
where night = $night
order by num_tokens, strategy
