-- What is selection by the critic worth, between the baselines and the oracle, and where is it over-optimised?
--
-- in:  critic_report
-- out: one row per night, critic, slice and n: problems with n samples, accuracy of greedy decoding, of the majority,
--      of the best by the policy's own log-probability and by the critic (lowest, product, last step score), of the
--      oracle, the critic's own score of what it selects, and the share of the gap that it closes
-- note: gap_closed = (best_by_min - best baseline) / (oracle - best baseline), null where the oracle is no better than
--       the best of greedy, majority and log-probability; below 0 the critic does harm. selected_score that rises with n
--       while best_by_min falls is over-optimisation.

with parts as (
    select
        night,
        critic_id,
        slice,
        value,
        num,
        regexp_extract(metric, '^(best_of|selected_score|majority_of|pass_at)_(\d+)_?(.*)$', 1) as kind,
        regexp_extract(metric, '^(best_of|selected_score|majority_of|pass_at)_(\d+)_?(.*)$', 2) as size,
        regexp_extract(metric, '^(best_of|selected_score|majority_of|pass_at)_(\d+)_?(.*)$', 3) as how
    from critic_report
),

greedy as (
    select night, critic_id, slice, value as greedy
    from critic_report
    where metric = 'greedy'
),

by_n as (
    select
        night,
        critic_id,
        slice,
        size::bigint as n,
        max(num) filter (where kind = 'pass_at') as num_problems,
        max(value) filter (where kind = 'majority_of') as majority,
        max(value) filter (where kind = 'best_of' and how = 'policy_logprob') as best_by_logprob,
        max(value) filter (where kind = 'best_of' and how = 'min') as best_by_min,
        max(value) filter (where kind = 'best_of' and how = 'product') as best_by_product,
        max(value) filter (where kind = 'best_of' and how = 'last') as best_by_last,
        max(value) filter (where kind = 'pass_at') as oracle,
        max(value) filter (where kind = 'selected_score' and how = 'min') as selected_score
    from parts
    where kind <> ''
    group by night, critic_id, slice, size
),

with_baseline as (
    select by_n.*, greedy.greedy, greatest(greedy.greedy, by_n.majority, by_n.best_by_logprob) as baseline
    from by_n
    left join greedy
        on greedy.night = by_n.night and greedy.critic_id = by_n.critic_id and greedy.slice = by_n.slice
)

select
    night,
    critic_id,
    slice,
    n,
    num_problems,
    greedy,
    majority,
    best_by_logprob,
    best_by_min,
    best_by_product,
    best_by_last,
    oracle,
    selected_score,
    case when oracle > baseline then (best_by_min - baseline) / (oracle - baseline) end as gap_closed
from with_baseline
order by night, critic_id, slice, n
