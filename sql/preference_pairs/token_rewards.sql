-- Rewards of tokens by two opposite prompts (T-REG, arXiv 2412.02685).
--
-- what:   r_t = 1 / (1 + exp(worse_t - better_t)) - 0.5, from the log-probabilities of the same tokens behind a prompt that
--         asks for a better and one that asks for a worse answer.
-- in:     weighed_samples
-- params: none
-- out:    one row per sample, by position: token_rewards, each in [-0.5, 0.5]
-- note:   lists of different lengths, or a value that is no number, give null.

with gaps as (
    select
        position,
        list_transform(list_zip(better_logprobs, worse_logprobs), lambda two: two[1] - two[2]) as gaps
    from weighed_samples
)

select
    position,
    if(
        len(list_filter(gaps, lambda gap: gap is null or isnan(gap))) = 0,
        list_transform(gaps, lambda gap: 1 / (1 + exp(-gap)) - 0.5),
        null
    ) as token_rewards
from gaps
order by position
