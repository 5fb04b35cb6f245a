-- Answers of the updated policy over those of the policy before the update, as a reward model learns from them.
--
-- what:   Of a problem the k-th answer y_t of the updated policy meets the k-th one y_(t-1) of the policy before, by id.
--         With r the reward model of before the update, delta = r(y_t) - r(y_(t-1)) and epsilon the standard deviation of
--         r over the answers of the policy before, a pair stays where delta > -$tolerance * epsilon: what is only slightly
--         worse stays. No pair at all where y_t wins less than $min_win_rate of the comparisons, a draw counting half.
-- in:     responses
-- params: $before, $after (policies; null: answers with is_teacher are the updated policy's, all others of the one before),
--         $tolerance, $min_win_rate, $respects_outcomes (drops pairs of a wrong answer over a right one)
-- out:    pair_candidates, one row per comparison that stays
-- note:   both scores must be of one reward model. epsilon is taken over the compared answers, with n in the denominator;
--         where all of them score alike it is 0 and only better answers stay. Answers without a partner are left out.

with sided as (
    select
        *,
        if($after::varchar is null, coalesce(is_teacher, false), coalesce(policy = $after, false)) as is_after,
        if($before::varchar is null, not coalesce(is_teacher, false), coalesce(policy = $before, false)) as is_before
    from responses
    where isfinite(score) and response is not null and problem_id is not null
),

ranked as (
    select *, row_number() over (partition by problem_id, is_after order by response_id) as seat
    from sided
    where is_after != is_before
),

compared as (
    select
        updated.problem_id,
        updated.prompt,
        updated.response as chosen,
        earlier.response as rejected,
        updated.score as chosen_score,
        earlier.score as rejected_score,
        updated.policy as chosen_policy,
        earlier.policy as rejected_policy,
        updated.response_id as chosen_id,
        earlier.response_id as rejected_id,
        coalesce(updated.outcome_reward < earlier.outcome_reward, false) as is_known_worse
    from ranked as updated
    join ranked as earlier
        on earlier.problem_id = updated.problem_id
        and earlier.seat = updated.seat
        and updated.is_after
        and earlier.is_before
),

over_all as (
    select
        stddev_pop(rejected_score) as epsilon,
        avg(case when chosen_score > rejected_score then 1.0 when chosen_score = rejected_score then 0.5 else 0.0 end)
            as win_rate
    from compared
)

select
    compared.problem_id,
    compared.prompt,
    compared.chosen,
    compared.rejected,
    compared.chosen_score,
    compared.rejected_score,
    null::double as soft_label,
    1.0::double as weight,
    compared.chosen_policy,
    compared.rejected_policy,
    compared.chosen_id,
    compared.rejected_id,
    1::bigint as place,
    concat(compared.chosen_id, chr(1), compared.rejected_id) as tie
from compared
cross join over_all
where round(compared.chosen_score - compared.rejected_score + $tolerance::double * over_all.epsilon, 9) > 0
    and round(over_all.win_rate, 9) >= $min_win_rate::double
    and not ($respects_outcomes and compared.is_known_worse)
