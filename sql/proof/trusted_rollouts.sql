-- trusted_rollouts: the rollouts of a night without the tree paths that a critic doubts.
--
-- what:   a path of a tree stays when every one of its steps has a score and the lowest is above $threshold.
--         Independent samples stay as they are: filters of groups judge those.
-- in:     rollouts, step_scores (of one critic, which never saw the rollout's problem)
-- params: $threshold
-- out:    one row per rollout that stays, in the columns of `rollouts`, by rollout id

with lowest as (
    select rollout_id, count(score) as num_scored, min(score) as score
    from step_scores
    group by rollout_id
)

select rollouts.*
from rollouts
left join lowest on lowest.rollout_id = rollouts.rollout_id
where rollouts.tree_id is null
    or (lowest.num_scored = len(rollouts.steps) and lowest.score > $threshold)
order by rollouts.rollout_id
