-- Graded rollouts as data for a judge (SPARK): is it right, which one is right, what would be right?
--
-- what:   pointwise:  one answer, label right or wrong;
--         pairwise:   a right and a wrong answer in an order by lot, label first or second;
--         reflection: a wrong answer to be mended; the label is a right one where the problem has one.
-- in:     responses
-- params: $kinds, $max_per_problem (per kind), $salt
-- out:    one row per judge prompt (problem_id, kind, prompt, first, second, label, first_id, second_id), by problem,
--         kind and ids
-- note:   what is not graded takes no part. A problem whose answers are all right or all wrong has no pairs.

with graded as (
    select *, outcome_reward = 1.0 as is_right, md5_number_lower(concat(response_id, chr(1), $salt)) as lot
    from responses
    where outcome_reward in (0.0, 1.0)
),

pairs as (
    select
        r.problem_id,
        r.prompt,
        r.response as right_text,
        w.response as wrong_text,
        r.response_id as right_id,
        w.response_id as wrong_id,
        md5_number_lower(concat(r.response_id, chr(1), w.response_id, chr(1), $salt)) as lot
    from graded as r
    inner join graded as w on w.problem_id = r.problem_id and r.is_right and not w.is_right
),

prompts as (
    select problem_id, 'pointwise' as kind, prompt, response as first, null::varchar as second,
        if(is_right, 'right', 'wrong') as label, response_id as first_id, null::varchar as second_id, lot
    from graded
    union all
    select
        problem_id,
        'pairwise',
        prompt,
        if(lot % 2 = 0, right_text, wrong_text),
        if(lot % 2 = 0, wrong_text, right_text),
        if(lot % 2 = 0, 'first', 'second'),
        if(lot % 2 = 0, right_id, wrong_id),
        if(lot % 2 = 0, wrong_id, right_id),
        lot
    from pairs
    union all
    select
        w.problem_id,
        'reflection',
        w.prompt,
        w.response,
        null,
        min_by(r.response, (r.lot, r.response_id)),
        w.response_id,
        null,
        w.lot
    from graded as w
    left join graded as r on r.problem_id = w.problem_id and r.is_right
    where not w.is_right
    group by all
)

select problem_id, kind, prompt, first, second, label, first_id, second_id
from prompts
where list_contains($kinds::varchar[], kind)
qualify row_number() over (partition by problem_id, kind order by lot, first_id, second_id) <= $max_per_problem
order by problem_id, kind, first_id, second_id
