-- Answers of one policy against those of another, whatever they are worth.
--
-- what:   Within a group the k-th answer of the chosen policy meets the k-th one of the rejected policy, by id; the shorter
--         list is walked again. With $only_dissatisfied a rejected answer must have the outcome 0.
-- in:     responses
-- params: $chosen_policy, $rejected_policy, $only_dissatisfied
-- out:    pair_candidates, one row per answer that is rejected
-- note:   there is no score, so there is no margin: who wrote it decides.

with sided as (
    select
        *,
        concat_ws(chr(31), problem_id, group_id) as group_key,
        policy = $chosen_policy as is_chosen
    from responses
    where response is not null
        and (policy = $chosen_policy or policy = $rejected_policy)
        and (policy = $chosen_policy or not $only_dissatisfied or outcome_reward = 0.0)
),

ranked as (
    select
        *,
        row_number() over (partition by group_key, is_chosen order by response_id) - 1 as seat,
        count(*) over (partition by group_key, is_chosen) as num_side
    from sided
)

select
    chosen.problem_id,
    chosen.prompt,
    chosen.response as chosen,
    rejected.response as rejected,
    null::double as chosen_score,
    null::double as rejected_score,
    null::double as soft_label,
    1.0::double as weight,
    chosen.policy as chosen_policy,
    rejected.policy as rejected_policy,
    chosen.response_id as chosen_id,
    rejected.response_id as rejected_id,
    1::bigint as place,
    concat(rejected.response_id, chr(1), chosen.response_id) as tie
from ranked as rejected
inner join ranked as chosen
    on chosen.group_key = rejected.group_key
    and chosen.is_chosen
    and not rejected.is_chosen
    and chosen.seat = rejected.seat % chosen.num_side
