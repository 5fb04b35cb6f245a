-- The first wrong step of the rollouts of one tree, by the starter generator's own rules.
--
-- in:     gold_steps, rollouts
-- params: $tree_id, $night
-- out:    one row per rollout with a wrong step: its leaf, and the step's index from 0

select rollouts.leaf_node_id, min(gold_steps.step) as first_wrong_step
from gold_steps
join rollouts on rollouts.rollout_id = gold_steps.rollout_id and rollouts.night = gold_steps.night
where
    rollouts.tree_id = $tree_id and rollouts.night = $night and rollouts.leaf_node_id is not null
    and not gold_steps.is_right
group by rollouts.rollout_id, rollouts.leaf_node_id
order by rollouts.leaf_node_id
