-- The pairs of one method: equal ones merged, and no more of a problem than the limit.
--
-- what:   Of equal texts the widest margin stays. Of a problem those with the smallest `place` stay, and within a place
--         the widest margins. margin = chosen_score - rejected_score.
-- in:     pair_candidates
-- params: $kind, $method, $max_pairs_per_problem
-- out:    mined_pairs, one row per pair, by problem and texts
-- note:   two sides of equal text say nothing and are dropped.

with candidates as (
    select *, round(chosen_score - rejected_score, 9) as margin
    from pair_candidates
    where chosen <> rejected
),

distinct_pairs as (
    select *
    from candidates
    qualify row_number() over (
        partition by problem_id, prompt, chosen, rejected order by margin desc nulls last, tie
    ) = 1
),

limited as (
    select *
    from distinct_pairs
    qualify row_number() over (
        partition by problem_id order by place, margin desc nulls last, tie
    ) <= $max_pairs_per_problem
)

select
    row_number() over (order by problem_id, prompt, chosen, rejected) - 1 as position,
    problem_id,
    $kind::varchar as kind,
    $method::varchar as method,
    prompt,
    chosen,
    rejected,
    margin,
    chosen_score,
    rejected_score,
    soft_label,
    weight,
    chosen_policy,
    rejected_policy,
    chosen_id,
    rejected_id
from limited
order by position
