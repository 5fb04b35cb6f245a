-- Past rejected, future chosen (temporal self-rewarding, arXiv 2508.06026).
--
-- what:   One judge, the present model, scored the answers of the past, the present and (second pass) the future model.
--         rejected = the worst of the past where it is worse than the worst of the present, else the worst of the present.
--         chosen = the best of the future where it is better than the best of the present, else the best of the present.
--         The pair is kept where chosen scores higher than rejected.
-- in:     responses
-- params: $past, $present, $future (policies)
-- out:    pair_candidates, at most one per group
-- note:   without answers of the future model these are the pairs of the first pass (anchored rejection); a group without
--         answers of the present model gives none. Of equal scores the smaller id stands.

with scored as (
    select *, concat_ws(chr(31), problem_id, group_id) as group_key
    from responses
    where isfinite(score) and response is not null and policy in ($past, $present, $future)
),

ends as (
    select
        *,
        row_number() over (partition by group_key, policy order by score desc, response_id) as from_best,
        row_number() over (partition by group_key, policy order by score, response_id) as from_worst
    from scored
),

rejected as (
    select *
    from ends
    where from_worst = 1 and policy in ($past, $present)
    qualify row_number() over (partition by group_key order by score, policy = $past) = 1
),

chosen as (
    select *
    from ends
    where from_best = 1 and policy in ($future, $present)
    qualify row_number() over (partition by group_key order by score desc, policy = $future) = 1
),

present_groups as (
    select distinct group_key
    from scored
    where policy = $present
)

select
    chosen.problem_id,
    chosen.prompt,
    chosen.response as chosen,
    rejected.response as rejected,
    chosen.score as chosen_score,
    rejected.score as rejected_score,
    null::double as soft_label,
    1.0::double as weight,
    chosen.policy as chosen_policy,
    rejected.policy as rejected_policy,
    chosen.response_id as chosen_id,
    rejected.response_id as rejected_id,
    1::bigint as place,
    concat(chosen.response_id, chr(1), rejected.response_id) as tie
from chosen
inner join rejected on rejected.group_key = chosen.group_key
where chosen.score > rejected.score and chosen.group_key in (select group_key from present_groups)
