-- The samples of a group, which are compared with each other.
--
-- in:     rollouts
-- params: $group_id
-- out:    one row per rollout, by night and id: rollout_id, night, outcome_reward
-- note:   no Bloom filter knows group ids, so every row group is read: asked only where nothing else has the id.

select rollout_id, night, outcome_reward
from rollouts
where group_id = $group_id
order by night, rollout_id
