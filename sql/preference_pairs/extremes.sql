-- The best answer of a group against its worst one, by score.
--
-- in:     responses
-- params: none
-- out:    pair_candidates, at most one per group
-- note:   answers without a score take no part; of equal scores the smaller id stands; a group of equal scores gives none.

with scored as (
    select *, concat_ws(chr(31), problem_id, group_id) as group_key
    from responses
    where isfinite(score) and response is not null
),

best as (
    select *
    from scored
    qualify row_number() over (partition by group_key order by score desc, response_id) = 1
),

worst as (
    select *
    from scored
    qualify row_number() over (partition by group_key order by score, response_id) = 1
)

select
    best.problem_id,
    best.prompt,
    best.response as chosen,
    worst.response as rejected,
    best.score as chosen_score,
    worst.score as rejected_score,
    null::double as soft_label,
    1.0::double as weight,
    best.policy as chosen_policy,
    worst.policy as rejected_policy,
    best.response_id as chosen_id,
    worst.response_id as rejected_id,
    1::bigint as place,
    concat(best.response_id, chr(1), worst.response_id) as tie
from best
inner join worst on worst.group_key = best.group_key
where best.score > worst.score
