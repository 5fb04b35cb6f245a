-- critique_sft: critiques to imitate, each once and so many of a problem, in the columns of `sft`.
--
-- in:     critic_answers
-- params: $max_per_problem, $night
-- out:    one row per distinct (prompt, completion)
-- note:   of several origins in turn; within one by a hash of the row's id.

with distinct_texts as (
    select *
    from critic_answers
    qualify row_number() over (partition by prompt, completion order by place, row_id) = 1
),

ranked as (
    select *, row_number() over (partition by problem_id, origin order by md5(row_id), row_id) as rank_in_origin
    from distinct_texts
),

limited as (
    select *
    from ranked
    qualify row_number() over (partition by problem_id order by rank_in_origin, place, row_id) <= $max_per_problem
)

select prompt, completion, problem_id, rollout_id, origin, $night::varchar as night
from limited
order by problem_id, place, rank_in_origin, row_id
