-- A right against a wrong answer of one group.
--
-- what:   score of an answer = its outcome (1 or 0) + its mean step score (left out where one of the two has none), so the
--         margin lies in [0, 2]. The right answers from the highest step score down meet the wrong ones from the lowest
--         up; the shorter list is walked again until each answer of the longer one has met a partner.
-- in:     responses
-- params: $min_margin
-- out:    pair_candidates
-- note:   answers that were not graded give no pair. Answers of equal text count once.

with distinct_responses as (
    select *, concat_ws(chr(31), problem_id, group_id) as group_key
    from responses
    where outcome_reward in (0.0, 1.0) and response is not null
    qualify row_number() over (partition by group_key, response order by md5(response_id)) = 1
),

ranked as (
    select
        * replace (if(isfinite(score), score, null) as score),
        row_number() over (
            partition by group_key, outcome_reward
            order by
                if(isfinite(score), score, null) * (2 * outcome_reward - 1) desc nulls last,
                md5(response_id)
        ) - 1 as place,
        count(*) over (partition by group_key, outcome_reward) as num_side
    from distinct_responses
),

meetings as (
    select
        chosen.problem_id,
        chosen.prompt,
        chosen.response as chosen,
        rejected.response as rejected,
        chosen.outcome_reward + if(rejected.score is null, 0.0, coalesce(chosen.score, 0.0)) as chosen_score,
        rejected.outcome_reward + if(chosen.score is null, 0.0, coalesce(rejected.score, 0.0)) as rejected_score,
        chosen.policy as chosen_policy,
        rejected.policy as rejected_policy,
        chosen.response_id as chosen_id,
        rejected.response_id as rejected_id
    from ranked as chosen
    inner join ranked as rejected
        on rejected.group_key = chosen.group_key
        and chosen.outcome_reward = 1.0
        and rejected.outcome_reward = 0.0
        and (
            chosen.place = rejected.place % chosen.num_side
            and rejected.num_side >= chosen.num_side
            or rejected.place = chosen.place % rejected.num_side
            and chosen.num_side > rejected.num_side
        )
)

select
    problem_id,
    prompt,
    chosen,
    rejected,
    chosen_score,
    rejected_score,
    null::double as soft_label,
    1.0::double as weight,
    chosen_policy,
    rejected_policy,
    chosen_id,
    rejected_id,
    1::bigint as place,
    concat(md5(chosen_id), md5(rejected_id)) as tie
from meetings
where round(chosen_score - rejected_score, 9) >= $min_margin
