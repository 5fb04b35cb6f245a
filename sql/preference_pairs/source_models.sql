-- Answers of several source models against the target model's worst one (WRPO, arXiv 2412.03187).
--
-- what:   y_s = best answer of any source model, y_t = best and y_l = worst answer of the target. Two pairs: y_s over y_l
--         with weight $alpha, y_t over y_l with weight 1 - $alpha.
-- in:     responses
-- params: $target (its policy), $alpha
-- out:    pair_candidates, at most two per group
-- note:   the paper mixes the two rewards inside one loss term; as rows of pairs the mix stands in the weights. A side that
--         is not better than y_l gives no pair.

with scored as (
    select *, concat_ws(chr(31), problem_id, group_id) as group_key, policy = $target as is_target
    from responses
    where isfinite(score) and response is not null and policy is not null
),

best as (
    select *
    from scored
    qualify row_number() over (partition by group_key, is_target order by score desc, response_id) = 1
),

worst as (
    select *
    from scored
    where is_target
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
    if(best.is_target, 1.0 - $alpha::double, $alpha::double) as weight,
    best.policy as chosen_policy,
    worst.policy as rejected_policy,
    best.response_id as chosen_id,
    worst.response_id as rejected_id,
    1::bigint as place,
    concat(best.response_id, chr(1), worst.response_id) as tie
from best
inner join worst on worst.group_key = best.group_key
where best.score > worst.score
