-- Which samples are too long, and the soft penalty on the way there (overlong filtering and shaping of DAPO).
--
-- what:   with L tokens, limit M = $max_tokens and buffer B = $num_buffer_tokens
--             penalty = 0 for L <= M - B;   (M - B - L) / B up to M;   -1 above
--         Samples that were cut off, or are longer than M, go.
-- in:     samples
-- params: $max_tokens, $num_buffer_tokens
-- out:    one row per sample (position, kept, reason, score = penalty), by position
-- note:   arXiv 2503.14476. A sample whose length is not known has no penalty and its own reason.

with judged as (
    select
        position,
        case
            when num_tokens is null then null
            when num_tokens > $max_tokens then -1.0
            when num_tokens <= $max_tokens - $num_buffer_tokens then 0.0
            else ($max_tokens - $num_buffer_tokens - num_tokens) / $num_buffer_tokens
        end as score,
        case
            when num_tokens is null then 'unknown_length'
            when finish_reason = 'length' then 'cut_off'
            when num_tokens > $max_tokens then 'overlong'
        end as reason
    from samples
)

select position, reason is null as kept, reason, score
from judged
order by position
