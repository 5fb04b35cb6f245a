-- The nodes of one tree, with the further parents of merged states.
--
-- in:     search_nodes, search_edges
-- params: $tree_id, $night
-- out:    one row per node, in creation order
-- note:   other_parents are those of search_edges beside parent_id; null where there are none.

with further as (
    select edges.to_node as node_id, list(distinct edges.from_node order by edges.from_node) as other_parents
    from search_edges as edges
    join search_nodes as nodes
        on nodes.tree_id = edges.tree_id and nodes.night = edges.night and nodes.node_id = edges.to_node
    where edges.tree_id = $tree_id and edges.night = $night and edges.from_node is distinct from nodes.parent_id
    group by edges.to_node
)

select
    nodes.node_id, nodes.parent_id, nodes.step_text, nodes.action, nodes.visit_count, nodes.value, nodes.raw_value, nodes.prior,
    nodes.num_samples, nodes.is_terminal, nodes.outcome_reward, nodes.sum_logprob,
    nullif(len(nodes.token_ids), 0) as num_tokens, further.other_parents
from search_nodes as nodes
left join further on further.node_id = nodes.node_id
where nodes.tree_id = $tree_id and nodes.night = $night
order by nodes.node_id
