-- Edges whose ends are not nodes of their tree.
--
-- in:  search_edges, search_nodes
-- out: offending rows (table_name, row_id, night, what), one per edge

select
    'search_edges' as table_name,
    edges.tree_id || ':' || edges.from_node || '>' || edges.to_node as row_id,
    edges.night,
    if(origin.node_id is null, 'from_node', 'to_node') || ' is not a node of this tree' as what
from search_edges as edges
left join search_nodes as origin on origin.tree_id = edges.tree_id and origin.node_id = edges.from_node
left join search_nodes as target on target.tree_id = edges.tree_id and target.node_id = edges.to_node
where origin.node_id is null or target.node_id is null
order by row_id
