-- Extracts of search trees that name a node which is not in its tree, or a splice whose steps are not its nodes'.
--
-- in:  node_values, first_errors, splices, reflections, search_nodes
-- out: offending rows (table_name, row_id, night, what), one per row and missing node
-- note: the last good node of a first error must be the parent of its node, and the nodes of a splice or
--       reflection must follow one another from the branch on.

with linked as (
    select 'node_values' as table_name, tree_id || ':' || node_id || ' ' || method as row_id, night, tree_id, node_id,
        null::bigint as parent_id
    from node_values
    union all
    select 'first_errors', rollout_id, night, tree_id, node_id, last_good_node_id
    from first_errors
    union all
    select 'splices', splice_id, night, tree_id, unnest(wrong_node_ids),
        unnest(list_prepend(branch_node_id, wrong_node_ids[:-2]))
    from splices
    union all
    select 'splices', splice_id, night, tree_id, unnest(right_node_ids),
        unnest(list_prepend(branch_node_id, right_node_ids[:-2]))
    from splices
    union all
    select 'reflections', reflection_id, night, tree_id, unnest(wrong_node_ids),
        unnest(list_prepend(branch_node_id, wrong_node_ids[:-2]))
    from reflections
    union all
    select 'reflections', reflection_id, night, tree_id, unnest(right_node_ids),
        unnest(list_prepend(branch_node_id, right_node_ids[:-2]))
    from reflections
),

judged as (
    select
        linked.table_name,
        linked.row_id,
        linked.night,
        case
            when nodes.node_id is null then 'node ' || coalesce(linked.node_id::varchar, 'null') || ' does not exist'
            when nodes.parent_id is distinct from linked.parent_id and linked.table_name <> 'node_values'
                then format('node {} does not follow node {}', linked.node_id, coalesce(linked.parent_id, -1))
        end as what
    from linked
    left join search_nodes as nodes on nodes.tree_id = linked.tree_id and nodes.node_id = linked.node_id
),

uneven as (
    select 'splices' as table_name, splice_id as row_id, night, 'steps and nodes differ in number' as what
    from splices
    where len(wrong_steps) is distinct from len(wrong_node_ids)
        or len(right_steps) is distinct from len(right_node_ids)
)

select table_name, row_id, night, what
from (select * from judged where what is not null union all select * from uneven)
order by table_name, row_id, what
