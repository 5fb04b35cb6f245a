-- A rollout as its lineage tells it.
--
-- in:     rollouts
-- params: $row_id, $night
-- out:    one row, or none

select
    rollout_id, problem_id, group_id, recipe, tree_id, leaf_node_id, policy_id, policy_version, seed, sampling_digest,
    steps, answer, outcome_reward, num_tokens, finish_reason, request_id, error, night, is_guided
from rollouts
where rollout_id = $row_id and night = $night
