-- What every method of agents made, and why it kept no more.
--
-- in:     critique_records
-- params:
-- out:    one row per (night, method, kind, reason): num_records, mean_reward, num_requests, num_tokens
-- note:   the reason is `kept` where a record is worth learning from. Records without a reward have no part in the
--         mean.

select
    night,
    method,
    kind,
    coalesce(reason, 'kept') as reason,
    count(*) as num_records,
    avg(reward) as mean_reward,
    sum(num_requests) as num_requests,
    sum(num_tokens) as num_tokens
from critique_records
group by night, method, kind, coalesce(reason, 'kept')
order by night, method, kind, num_records desc, reason
