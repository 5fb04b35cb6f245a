-- Good old rollouts that are worth training on again tonight.
--
-- what:   right independent samples that the filter of one of the last $max_age_nights nights before tonight kept, all of
--         whose steps a critic scored above $min_step_score then, of problems whose pass rate on the latest night that
--         sampled them is at most $max_pass_rate. Of equal solutions the latest one; none that tonight's samples have, too;
--         of a problem the $max_per_problem with the highest lowest score.
-- in:     rollouts, consistent_rollouts, step_scores
-- params: $night, $max_age_nights, $min_step_score (0 = all), $max_pass_rate, $max_per_problem
-- out:    one row per rollout, by problem and rank (rollout_id, problem_id, steps, policy_version, score, source_night,
--         num_nights_old, pass_rate_now, night)
-- note:   a night is one with rollouts in the lake, so that a break ages nothing. Text that the policy did not write
--         (given tokens) is not to be imitated. Pass rates are of tonight where it sampled the problem.

with nights as (
    select night, row_number() over (order by night desc) as num_nights_old
    from (select distinct night from rollouts where night < $night)
    qualify num_nights_old <= $max_age_nights
),

rates as (
    select problem_id, avg(outcome_reward) as pass_rate
    from rollouts
    where group_id is not null and outcome_reward is not null and night <= $night
    group by problem_id, night
    qualify row_number() over (partition by problem_id order by night desc) = 1
),

lowest as (
    select rollout_id, night, count(score) as num_scored, min(score) as score
    from step_scores
    where source = 'critic' and night in (select night from nights)
    group by rollout_id, night
),

tonight as (
    select distinct problem_id, array_to_string(steps, chr(10)) as text
    from rollouts
    where night = $night and outcome_reward = 1.0 and group_id is not null
),

kept as (
    select
        rollouts.rollout_id,
        rollouts.problem_id,
        rollouts.steps,
        array_to_string(rollouts.steps, chr(10)) as text,
        rollouts.policy_version,
        lowest.score,
        rollouts.night as source_night,
        nights.num_nights_old,
        rates.pass_rate as pass_rate_now
    from consistent_rollouts
    join nights on nights.night = consistent_rollouts.night
    join rollouts on rollouts.rollout_id = consistent_rollouts.rollout_id and rollouts.night = consistent_rollouts.night
    join rates on rates.problem_id = rollouts.problem_id
    left join lowest on lowest.rollout_id = rollouts.rollout_id and lowest.night = rollouts.night
    where rollouts.outcome_reward = 1.0
        and rollouts.error is null
        and len(rollouts.steps) > 0
        and coalesce(rollouts.num_given_tokens, 0) = 0
        and rates.pass_rate <= $max_pass_rate::double
        and (
            $min_step_score::double = 0.0
            or (lowest.num_scored = len(rollouts.steps) and lowest.score > $min_step_score::double)
        )
),

distinct_texts as (
    select kept.*
    from kept
    anti join tonight on tonight.problem_id = kept.problem_id and tonight.text = kept.text
    qualify row_number() over (
        partition by kept.problem_id, kept.text order by kept.num_nights_old, kept.rollout_id
    ) = 1
),

ranked as (
    select
        *,
        row_number() over (
            partition by problem_id order by score desc nulls last, num_nights_old, rollout_id
        ) as place
    from distinct_texts
    qualify place <= $max_per_problem
)

select
    rollout_id,
    problem_id,
    steps,
    policy_version,
    score,
    source_night,
    num_nights_old,
    pass_rate_now,
    $night::varchar as night
from ranked
order by problem_id, place
