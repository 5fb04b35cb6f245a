-- Which model wrote a tree, as its rollouts say.
--
-- in:     rollouts
-- params: $tree_id, $night
-- out:    one row per policy

select distinct policy_id, policy_version, recipe
from rollouts
where tree_id = $tree_id and night = $night
order by policy_id, policy_version, recipe
