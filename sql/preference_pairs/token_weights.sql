-- Weights of tokens by their own probability, for supervised fine-tuning (DFT; the first term of ASFT).
--
-- what:   w_t = p(y_t), detached from the gradient: loss_t = -w_t log p(y_t). mean_weight = mean of w_t.
-- in:     weighed_samples
-- params: none
-- out:    one row per sample, by position: token_weights, each in [0, 1], and mean_weight
-- note:   no list, an empty one, or a log-probability above 0 or that is no number gives null. ASFT's pull towards the base
--         model is part of the loss, not of the data.

with checked as (
    select
        position,
        if(
            len(list_filter(token_logprobs, lambda logprob: logprob is null or isnan(logprob) or logprob > 0)) = 0,
            token_logprobs,
            null
        ) as token_logprobs
    from weighed_samples
)

select
    position,
    list_transform(token_logprobs, lambda logprob: exp(logprob)) as token_weights,
    list_avg(list_transform(token_logprobs, lambda logprob: exp(logprob))) as mean_weight
from checked
order by position
