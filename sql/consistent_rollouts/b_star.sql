-- Which samples B-STaR selects: those above a threshold, the best of every problem first (arXiv 2412.17256).
--
-- what:   score = lowest step score / 5 + [the answer is right];  selected are scores above $threshold, of a problem at
--         most `cap`. cap = $max_per_problem, or with $target_size the smallest cap at which so many are selected.
-- in:     samples
-- params: $threshold, $max_per_problem, $target_size (null = no target)
-- out:    one row per sample (position, kept, reason, score), by position
-- note:   which of a problem's samples fill its cap is deduced: the highest scores, of equal ones the smaller id. The
--         gold solution that the paper's code adds to every problem is not among the samples. A sample without steps
--         has a lowest step score of 0.

with judged as (
    select
        position,
        problem_id,
        rollout_id,
        case
            when outcome_reward is null or outcome_reward not in (0.0, 1.0) then 'ungraded'
            when step_values is null then 'no_step_scores'
            when len(list_filter(step_values, lambda value: value is null or not isfinite(value))) > 0
                then 'broken_step_scores'
        end as exclusion,
        round(coalesce(list_min(step_values), 0.0) / 5 + outcome_reward, 9) as score
    from samples
),

ranked as (
    select
        *,
        exclusion is null and score > $threshold as is_above,
        row_number() over (
            partition by problem_id, exclusion is null and score > $threshold
            order by score desc, rollout_id, position
        ) as place
    from judged
),

totals as (
    select place as cap, sum(count(*)) over (order by place) as num_selected
    from ranked
    where is_above and place <= $max_per_problem
    group by place
),

caps as (
    select coalesce(min(cap) filter (where num_selected >= $target_size::bigint), $max_per_problem::bigint) as cap
    from totals
),

decided as (
    select
        ranked.position,
        case
            when ranked.exclusion is not null then ranked.exclusion
            when not ranked.is_above then 'below_threshold'
            when ranked.place > caps.cap then 'over_cap'
        end as reason,
        if(ranked.exclusion is null, ranked.score, null) as score
    from ranked
    cross join caps
)

select position, reason is null as kept, reason, score
from decided
order by position
