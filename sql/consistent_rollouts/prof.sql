-- consistency_results by PROF, the process consistency filter (arXiv 2509.03403).
--
-- what:   In every group of independent samples of one problem, `$num_remove` rollouts are removed: from the larger
--         of the right and the wrong ones first, so that the kept ones are as balanced as possible, and within each
--         those whose step scores contradict their outcome most (right answers with low step scores, wrong answers
--         with high ones).
--             vbar   = mean score of all steps of the batch
--             c      = (mean | min | sum over steps of 2 * (score - vbar)) * (2 * outcome - 1);  0 without steps
--             crit   = c - $length_penalty * [num_steps < $min_steps or num_steps > $max_steps]
--             k      = min($num_remove, n),  d = n_right - n_wrong
--             k_right = min(k, round_half_even((d + k) / 2));  where positive: min(k_right, n_right), else 0
--             k_wrong = min(k - k_right, n_wrong)
--         A side that is not ranked ($rank_right, $rank_wrong) loses the same number by lot.
-- in:     rollouts (one batch), step_scores (of one scorer version)
-- params: $method, $night, $source, $scorer_version, $num_remove, $length_penalty, $min_steps, $max_steps,
--         $aggregate (mean | min | sum), $rank_right, $rank_wrong, $salt
-- out:    one row per rollout of the batch
-- note:   ties are broken by a hash of the rollout id, so that row order decides nothing; crit is rounded to nine
--         digits, so that the order in which a parallel sum was taken decides nothing either. Rollouts outside the
--         groups (failed, not graded, tree rollouts, not or partly scored) take no part in any count.

with scores as (
    select rollout_id, count(score) as num_scored, sum(score) as total, min(score) as lowest
    from step_scores
    where source = $source and scorer_version = $scorer_version
    group by rollout_id
),

judged as (
    select
        rollouts.rollout_id,
        rollouts.problem_id,
        rollouts.group_id,
        rollouts.outcome_reward,
        coalesce(len(rollouts.steps), 0) as num_steps,
        coalesce(scores.total, 0.0) as total,
        scores.lowest,
        case
            when rollouts.error is not null then 'failed'
            when rollouts.group_id is null then 'not_in_group'
            when rollouts.outcome_reward is null then 'not_graded'
            when rollouts.outcome_reward not in (0.0, 1.0) then 'reward_not_binary'
            when coalesce(len(rollouts.steps), 0) > 0 and coalesce(scores.num_scored, 0) = 0 then 'no_step_scores'
            when coalesce(scores.num_scored, 0) <> coalesce(len(rollouts.steps), 0) then 'step_count_mismatch'
        end as exclusion
    from rollouts
    left join scores on scores.rollout_id = rollouts.rollout_id
),

batch as (
    select coalesce(sum(total) / nullif(sum(num_steps), 0), 0.0) as vbar
    from judged
    where exclusion is null
),

scored as (
    select
        judged.*,
        judged.outcome_reward = 1.0 as is_right,
        judged.num_steps < $min_steps or judged.num_steps > $max_steps as is_outlier,
        case
            when judged.num_steps = 0 then 0.0
            when $aggregate = 'min' then 2 * (judged.lowest - batch.vbar)
            when $aggregate = 'sum' then 2 * (judged.total - judged.num_steps * batch.vbar)
            else 2 * (judged.total / judged.num_steps - batch.vbar)
        end as centred
    from judged
    cross join batch
),

criteria as (
    select
        *,
        if(is_right, $rank_right, $rank_wrong) as is_ranked_side,
        case
            when exclusion is null
                then round(centred * (2 * outcome_reward - 1) - if(is_outlier, $length_penalty::double, 0.0), 9) + 0.0
        end as crit
    from scored
),

groups as (
    select
        group_id,
        count(*) filter (where is_right) as num_right,
        count(*) filter (where not is_right) as num_wrong,
        least($num_remove::bigint, count(*)) as k
    from criteria
    where exclusion is null
    group by group_id
),

right_budgets as (
    select
        *,
        greatest(least(k, round_even((num_right - num_wrong + k) / 2, 0)::bigint, num_right), 0) as k_right
    from groups
),

budgets as (
    select group_id, k_right, least(k - k_right, num_wrong) as k_wrong
    from right_budgets
),

ranked as (
    select
        *,
        row_number() over (
            partition by group_id, is_right, exclusion is null
            order by
                if(is_ranked_side, crit, 0.0),
                md5_number_lower(if(is_ranked_side, rollout_id, concat(rollout_id, $salt))),
                rollout_id
        ) as removal_rank
    from criteria
),

decided as (
    select
        ranked.*,
        case
            when ranked.exclusion is not null then ranked.exclusion
            when ranked.removal_rank > if(ranked.is_right, budgets.k_right, budgets.k_wrong) then null
            when not ranked.is_ranked_side then if(ranked.is_right, 'random_right', 'random_wrong')
            when ranked.is_outlier and $length_penalty > 0 then 'step_count_outlier'
            else if(ranked.is_right, 'inconsistent_right', 'inconsistent_wrong')
        end as reason
    from ranked
    left join budgets on budgets.group_id = ranked.group_id
)

select
    rollout_id,
    problem_id,
    group_id,
    $method::varchar as method,
    reason is null as kept,
    reason,
    crit as score,
    $night::varchar as night
from decided
order by group_id, rollout_id
