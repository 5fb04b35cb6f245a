-- Training problems that the policy is uncertain of, by tonight's samples (TT-SI, arXiv 2510.07841).
--
-- what:   u = p(1) - p(2), the gap between the likeliest and the second likeliest final answer after a softmax over
--         their log-likelihoods; uncertain where u < $threshold. The likelihood of an answer is estimated by its share of
--         the answered samples, and a softmax over the logarithms of shares gives these shares again.
-- in:     problems (training split), rollouts (independent samples)
-- params: $threshold
-- out:    one row per uncertain problem (problem_id, answer_margin = u), the most uncertain first
-- note:   answers are compared as text; samples without an answer give none. With one distinct answer p(2) = 0 and
--         u = 1; a tie at the top has u = 0; a problem without an answered sample is not known to be uncertain and has
--         no row. Equally uncertain problems come in the order of a hash of their ids.

with shares as (
    select
        rollouts.problem_id,
        rollouts.answer,
        count(*) / sum(count(*)) over (partition by rollouts.problem_id) as share
    from rollouts
    inner join problems on problems.problem_id = rollouts.problem_id
    where problems.split = 'train'
        and not problems.is_evaluation
        and rollouts.group_id is not null
        and rollouts.error is null
        and rollouts.answer is not null
    group by rollouts.problem_id, rollouts.answer
),

tops as (
    select problem_id, list(share order by share desc) as shares
    from shares
    group by problem_id
),

margins as (
    select problem_id, shares[1] - coalesce(shares[2], 0.0) as answer_margin
    from tops
)

select problem_id, answer_margin::double as answer_margin
from margins
where answer_margin < $threshold
order by answer_margin, md5(problem_id)
