-- preference_pairs of kind `rollout`: a right against a wrong rollout of one group of independent samples.
--
-- what:   margin = gap of outcomes (1.0) + gap of mean step scores (0.0 where one of the two has no scores), in [0, 2].
--         The right rollouts from the highest mean score down meet the wrong ones from the lowest up; the shorter list
--         is walked again until each rollout of the longer one has met a partner.
-- in:     problems, rollouts, step_scores
-- params: $source and $scorer_version of the step scores, $min_margin, $max_pairs_per_problem, $separator, $night
-- out:    one row per pair
-- note:   failed and not graded rollouts and those without text give no pair. Rollouts of equal text count once.

with scores as (
    select rollout_id, avg(score) as mean_score
    from step_scores
    where source = $source and scorer_version = $scorer_version
    group by rollout_id
),

graded as (
    select
        rollouts.rollout_id,
        rollouts.problem_id,
        rollouts.group_id,
        rollouts.outcome_reward,
        concat(array_to_string(rollouts.steps, $separator), $separator) as completion,
        round(scores.mean_score, 9) as mean_score
    from rollouts
    left join scores on scores.rollout_id = rollouts.rollout_id
    where rollouts.group_id is not null
        and rollouts.error is null
        and rollouts.outcome_reward in (0.0, 1.0)
        and len(rollouts.steps) > 0
),

distinct_rollouts as (
    select *
    from graded
    qualify row_number() over (partition by group_id, completion order by md5(rollout_id)) = 1
),

ranked as (
    select
        *,
        row_number() over (
            partition by group_id, outcome_reward
            order by
                mean_score * (2 * outcome_reward - 1) desc nulls last,
                md5(rollout_id)
        ) - 1 as position,
        count(*) over (partition by group_id, outcome_reward) as num_side
    from distinct_rollouts
),

meetings as (
    select
        chosen.problem_id,
        chosen.rollout_id as chosen_id,
        chosen.completion as chosen,
        rejected.rollout_id as rejected_id,
        rejected.completion as rejected,
        round(
            chosen.outcome_reward - rejected.outcome_reward + coalesce(chosen.mean_score - rejected.mean_score, 0.0), 9
        ) as margin
    from ranked as chosen
    inner join ranked as rejected
        on rejected.group_id = chosen.group_id
        and chosen.outcome_reward = 1.0
        and rejected.outcome_reward = 0.0
        and (
            chosen.position = rejected.position % chosen.num_side
            and rejected.num_side >= chosen.num_side
            or rejected.position = chosen.position % rejected.num_side
            and chosen.num_side > rejected.num_side
        )
),

pairs as (
    select meetings.*, concat(problems.prompt, $separator) as prompt
    from meetings
    inner join problems on problems.problem_id = meetings.problem_id
    where meetings.margin >= $min_margin
),

distinct_pairs as (
    select *
    from pairs
    qualify row_number() over (
        partition by problem_id, chosen, rejected order by margin desc, md5(chosen_id), md5(rejected_id)
    ) = 1
),

limited as (
    select *
    from distinct_pairs
    qualify row_number() over (
        partition by problem_id order by margin desc, md5(chosen_id), md5(rejected_id)
    ) <= $max_pairs_per_problem
)

select
    left(sha256(concat_ws(chr(31), 'rollout', $night, problem_id, prompt, chosen, rejected)), 20) as pair_id,
    problem_id,
    'rollout' as kind,
    prompt,
    chosen,
    rejected,
    margin,
    chosen_id,
    rejected_id,
    $night::varchar as night
from limited
order by problem_id, pair_id
