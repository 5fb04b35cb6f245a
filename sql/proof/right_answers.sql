-- right_answers: what the baselines of `reasonmill prove` train on, right answers chosen without looking at steps.
--
-- what:   rejection sampling ($num_rows null): every rollout of a training problem, from a tree or sampled on its own,
--         whose answer is graded right; an answer that was given several times is there several times.
--         random filter ($num_rows set): of every problem one of them by lot, of so many problems by lot.
-- in:     problems (training split, `prompt` = the exact policy prompt), rollouts
-- params: $num_rows (null = all), $seed (of the lots), $separator (ends every step), $night
-- out:    one row per chosen rollout in the columns of `sft`, by rollout id
-- note:   one answer per problem because the loop too takes one: what it gains over the random filter is what its
--         scores know. Gold steps are never read.

with answers as (
    select
        problems.prompt,
        concat(array_to_string(rollouts.steps, $separator), $separator) as completion,
        rollouts.problem_id,
        rollouts.rollout_id,
        if(rollouts.tree_id is null, 'independent_samples', 'search') as origin,
        row_number() over (
            partition by rollouts.problem_id
            order by md5(concat($seed::varchar, ':', rollouts.rollout_id)), rollouts.rollout_id
        ) as place
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
    where $num_rows::bigint is null or place = 1
    qualify $num_rows::bigint is null
        or row_number() over (order by md5(concat($seed::varchar, ':', problem_id)), problem_id) <= $num_rows::bigint
)

select prompt, completion, problem_id, rollout_id, origin, $night::varchar as night
from drawn
order by rollout_id
