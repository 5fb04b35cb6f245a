-- right_answers: what rejection sampling trains on, all right answers or as many of them by lot.
--
-- what:   every rollout of a training problem, from a tree or sampled on its own, whose answer is graded right, in the
--         columns of `sft`; an answer that was given several times is there several times.
-- in:     problems (training split, `prompt` = the exact policy prompt), rollouts
-- params: $num_rows (null = all), $seed (of the lot), $separator (ends every step), $night
-- out:    one row per right rollout, by its id
-- note:   the baseline of every filter: it looks at the answer alone. Gold steps are never read.

with answers as (
    select
        problems.prompt,
        concat(array_to_string(rollouts.steps, $separator), $separator) as completion,
        rollouts.problem_id,
        rollouts.rollout_id,
        if(rollouts.tree_id is null, 'independent_samples', 'search') as origin
    from rollouts
    inner join problems on problems.problem_id = rollouts.problem_id
    where problems.split = 'train'
        and rollouts.outcome_reward = 1.0
        and rollouts.error is null
        and len(rollouts.steps) > 0
        and coalesce(rollouts.num_given_tokens, 0) = 0
),

drawn as (
    select *
    from answers
    qualify $num_rows::bigint is null
        or row_number() over (order by md5(concat($seed::varchar, ':', rollout_id)), rollout_id) <= $num_rows::bigint
)

select prompt, completion, problem_id, rollout_id, origin, $night::varchar as night
from drawn
order by rollout_id
