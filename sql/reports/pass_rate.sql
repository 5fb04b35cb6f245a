-- How often is the policy right, by family and difficulty?
--
-- in:  rollouts, problems
-- out: one row per night, recipe, family and difficulty: share of graded rollouts that are right, share of problems
--      with at least one right rollout
-- note: rollouts that were cut off or failed count in num_rollouts; pass_rate is over the graded ones.

with per_problem as (
    select
        rollouts.night,
        rollouts.recipe,
        problems.family,
        problems.difficulty,
        rollouts.problem_id,
        count(*) as num_rollouts,
        count(rollouts.outcome_reward) as num_graded,
        coalesce(sum(rollouts.outcome_reward), 0) as num_right
    from rollouts
    join problems on problems.problem_id = rollouts.problem_id
    group by rollouts.night, rollouts.recipe, problems.family, problems.difficulty, rollouts.problem_id
)

select
    night,
    recipe,
    family,
    difficulty,
    count(*) as num_problems,
    sum(num_rollouts) as num_rollouts,
    sum(num_graded) as num_graded,
    sum(num_right) / nullif(sum(num_graded), 0) as pass_rate,
    count(*) filter (where num_right > 0) / count(*) as solved_share
from per_problem
group by night, recipe, family, difficulty
order by night, recipe, family, difficulty
