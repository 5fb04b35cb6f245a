-- At which step do solutions first go wrong?
--
-- in:  gold_steps, rollouts, problems
-- out: one row per family and step: how many rollouts were still right before it, how many went wrong at it, the share
-- note: only rollouts of the starter families have gold labels. Steps after the first wrong one are not counted.

with first_errors as (
    select rollout_id, min(step) filter (where not is_right) as first_wrong, max(step) as last_step
    from gold_steps
    group by rollout_id
),

reached as (
    select
        problems.family,
        unnest(range(coalesce(first_errors.first_wrong, first_errors.last_step) + 1)) as step,
        first_errors.first_wrong
    from first_errors
    join rollouts on rollouts.rollout_id = first_errors.rollout_id
    join problems on problems.problem_id = rollouts.problem_id
)

select
    family,
    step,
    count(*) as num_right_so_far,
    count(*) filter (where step = first_wrong) as num_first_errors,
    count(*) filter (where step = first_wrong) / count(*) as error_share
from reached
group by family, step
order by family, step
