-- Every better against every worse answer of one stratum (NAIPv2's pairs within strata).
--
-- what:   Two answers of a group and stratum whose scores are at least $min_margin apart; the widest gaps stand first.
-- in:     responses
-- params: $min_margin
-- out:    pair_candidates
-- note:   a null stratum is one for all. Answers without a score take no part, and equal scores give no pair.

with scored as (
    select *, concat_ws(chr(31), problem_id, group_id) as group_key
    from responses
    where isfinite(score) and response is not null
)

select
    better.problem_id,
    better.prompt,
    better.response as chosen,
    worse.response as rejected,
    better.score as chosen_score,
    worse.score as rejected_score,
    null::double as soft_label,
    1.0::double as weight,
    better.policy as chosen_policy,
    worse.policy as rejected_policy,
    better.response_id as chosen_id,
    worse.response_id as rejected_id,
    1::bigint as place,
    concat(better.response_id, chr(1), worse.response_id) as tie
from scored as better
inner join scored as worse
    on worse.group_key = better.group_key
    and worse.stratum is not distinct from better.stratum
    and better.score > worse.score
    and round(better.score - worse.score, 9) >= $min_margin
