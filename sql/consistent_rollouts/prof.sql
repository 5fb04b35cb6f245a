-- Which samples PROF, the process consistency filter (arXiv 2509.03403), keeps, and why it removes the others.
--
-- what:   In every group of samples of one problem, `$num_removed` are removed: from the larger one of the right and the
--         wrong ones first, so that the kept ones are as balanced as possible, and within each those whose step scores
--         contradict their outcome most (right answers with low step scores, wrong answers with high ones).
--             centre  = mean of all step scores of the input, ungraded samples included
--             c       = 2 * (mean step score - centre), or the other $aggregation as it is;  0 without steps
--             score   = c * (2 * outcome - 1) - $length_penalty * [num_steps < $min_steps or num_steps > $max_steps]
--             k       = min($num_removed, n),  d = n_right - n_wrong
--             k_right = min(k, round_half_even((d + k) / 2));  where positive: min(k_right, n_right), else 0
--             k_wrong = min(k - k_right, n_wrong)
--         $balance is equal for this; with ratio k_right = round_half_even(k * n_right / n), with joint the k samples
--         with the lowest scores go, right or wrong.
--         A side that is not ranked ($rank_right, $rank_wrong) loses the same number by lot.
-- in:     samples
-- params: $num_removed, $length_penalty, $min_steps, $max_steps, $aggregation (mean | min | sum | product | last),
--         $rank_right, $rank_wrong, $balance (equal | ratio | joint), $salt
-- out:    one row per sample (position, kept, reason, score), by position
-- note:   of equal scores the smaller rollout id is removed first; scores are rounded to nine digits, so that neither
--         the order of rows nor that in which a parallel sum was taken decides anything. Samples without an outcome of 0
--         or 1, without step scores, or with one that is no number take no part in any group's counts. Each group keeps
--         a heap of its $num_removed smallest keys, which takes less time than ranks over all of its samples.

with measured as (
    select
        position,
        rollout_id,
        group_id,
        outcome_reward,
        len(step_values) as num_steps,
        list_sum(step_values) as total,
        case
            when len(step_values) = 0 then 0.0
            when $aggregation = 'mean' then list_sum(step_values) / len(step_values)
            when $aggregation = 'min' then list_min(step_values)
            when $aggregation = 'sum' then list_sum(step_values)
            when $aggregation = 'product' then list_product(step_values)
            else step_values[-1]
        end as aggregate,
        case
            when group_id is null then 'not_in_group'
            when outcome_reward is null or outcome_reward not in (0.0, 1.0) then 'ungraded'
            when step_values is null then 'no_step_scores'
        end as unusable,
        list_count(step_values) < len(step_values)
            or not isfinite(coalesce(list_sum(step_values), 0.0)) as has_broken_score
    from samples
),

judged as (
    select *, coalesce(unusable, if(has_broken_score, 'broken_step_scores', null)) as exclusion
    from measured
),

centres as (
    select coalesce(sum(total) / nullif(sum(num_steps), 0), 0.0) as centre
    from judged
    where not has_broken_score and (exclusion is null or exclusion = 'ungraded')
),

criteria as (
    select
        judged.* exclude (total, aggregate, unusable),
        outcome_reward = 1.0 as is_right,
        if(outcome_reward = 1.0, $rank_right, $rank_wrong) as is_ranked_side,
        case
            when exclusion is null
                then round(
                    if($aggregation = 'mean' and num_steps > 0, 2 * (aggregate - centre), aggregate)
                    * (2 * outcome_reward - 1)
                    - if(num_steps < $min_steps or num_steps > $max_steps, $length_penalty::double, 0.0),
                    9
                ) + 0.0
        end as score,
        row(
            if(is_ranked_side, score, 0.0),
            if(is_ranked_side, 0, md5_number_lower(concat(rollout_id, $salt))),
            rollout_id,
            position
        ) as removal_key
    from judged
    cross join centres
),

groups as (
    select
        count(*) filter (where is_right) as num_right,
        count(*) filter (where not is_right) as num_wrong,
        least($num_removed::bigint, count(*)) as k,
        arg_min(position, removal_key, greatest($num_removed::bigint, 1))
            filter (where is_right or $balance = 'joint') as first_right,
        arg_min(position, removal_key, greatest($num_removed::bigint, 1))
            filter (where not is_right and $balance <> 'joint') as first_wrong
    from criteria
    where exclusion is null
    group by group_id
),

right_budgets as (
    select
        *,
        case $balance
            when 'joint' then k
            when 'ratio' then round_even(k * num_right / (num_right + num_wrong), 0)::bigint
            else greatest(least(k, round_even((num_right - num_wrong + k) / 2, 0)::bigint, num_right), 0)
        end as k_right
    from groups
),

removals as (
    select unnest(
        list_concat(coalesce(first_right[:k_right], []), coalesce(first_wrong[:least(k - k_right, num_wrong)], []))
    ) as position
    from right_budgets
),

decided as (
    select
        criteria.position,
        criteria.score,
        case
            when criteria.exclusion is not null then criteria.exclusion
            when removals.position is null then null
            when not criteria.is_ranked_side then 'balance_random'
            when $balance = 'equal' then 'low_consistency'
            else 'inconsistent'
        end as reason
    from criteria
    left join removals on removals.position = criteria.position
)

select position, reason is null as kept, reason, score
from decided
order by position
