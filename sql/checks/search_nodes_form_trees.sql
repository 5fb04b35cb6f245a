-- Nodes that do not hang in their tree, and trees without exactly one root.
--
-- in:  search_nodes
-- out: offending rows (table_name, row_id, night, what), one per node or tree
-- note: a root is node 0 at depth 0 with no parent; every other node is one deeper than its parent, which is in the
--       same tree and has the smaller node_id.

with judged as (
    select
        nodes.tree_id || ':' || nodes.node_id as row_id,
        nodes.night,
        case
            when nodes.node_id = 0 and nodes.parent_id is not null then 'the root has parent ' || nodes.parent_id
            when nodes.node_id = 0 and nodes.depth <> 0 then 'the root is at depth ' || nodes.depth
            when nodes.node_id = 0 then null
            when nodes.parent_id is null then 'the node has no parent and is not node 0'
            when nodes.parent_id >= nodes.node_id then 'parent ' || nodes.parent_id || ' is not older than the node'
            when parents.node_id is null then 'parent ' || nodes.parent_id || ' does not exist'
            when nodes.depth <> parents.depth + 1
                then 'depth ' || nodes.depth || ' below a parent at depth ' || parents.depth
        end as what
    from search_nodes as nodes
    left join search_nodes as parents on parents.tree_id = nodes.tree_id and parents.node_id = nodes.parent_id
),

rootless as (
    select tree_id as row_id, max(night) as night, 'the tree has no node 0' as what
    from search_nodes
    group by tree_id
    having count(*) filter (where node_id = 0) = 0
)

select 'search_nodes' as table_name, row_id, night, what
from (select * from judged where what is not null union all select * from rootless)
order by row_id
