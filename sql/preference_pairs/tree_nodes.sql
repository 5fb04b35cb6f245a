-- Nodes of search trees as the miners of pairs read them, whatever table they come from.
--
-- what:   A node is an end where a finished rollout ends that was graded; failed rollouts and those that were cut off end
--         nowhere. The statement and the policy stand at the root.
-- in:     problems, search_nodes, rollouts
-- params: none
-- out:    tree_nodes, one row per node
-- note:   a tree without rollouts has no known policy. An answer that was opened again (a `reflect` step follows it) is
--         worth what came after the correction, not what it says: it has no value here.

with ends as (
    select tree_id, leaf_node_id as node_id, max(outcome_reward) as outcome_reward
    from rollouts
    where tree_id is not null
        and leaf_node_id is not null
        and error is null
        and finish_reason = 'stop'
        and outcome_reward in (0.0, 1.0)
    group by tree_id, leaf_node_id
),

policies as (
    select tree_id, min(policy_version) as policy
    from rollouts
    where tree_id is not null
    group by tree_id
),

reopened as (
    select distinct tree_id, parent_id as node_id
    from search_nodes
    where action = 'reflect'
)

select
    row_number() over (order by node.tree_id, node.node_id) - 1 as position,
    node.tree_id,
    node.node_id,
    node.parent_id,
    node.problem_id,
    if(node.parent_id is null, problems.prompt, null) as prompt,
    node.step_text,
    node.action,
    if(reopened.node_id is null, node.value, null) as value,
    node.raw_value,
    node.visit_count,
    ends.outcome_reward,
    if(node.parent_id is null, policies.policy, null) as policy
from search_nodes as node
inner join problems on problems.problem_id = node.problem_id
left join ends on ends.tree_id = node.tree_id and ends.node_id = node.node_id
left join policies on policies.tree_id = node.tree_id
left join reopened on reopened.tree_id = node.tree_id and reopened.node_id = node.node_id
