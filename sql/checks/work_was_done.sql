-- Rollouts that succeeded without tokens, and trees that no simulation visited.
--
-- in:  rollouts, search_nodes
-- out: offending rows (table_name, row_id, night, what), one per rollout or tree
-- note: an answer without steps (the end token at once) is the model's work and graded as wrong; a tree whose only
--       rollout row is an error is a failed problem and not counted.

with rollouts_without_tokens as (
    select
        'rollouts' as table_name,
        rollout_id as row_id,
        night,
        'no error, but ' || coalesce(num_tokens, 0) || ' tokens' as what
    from rollouts
    where error is null and coalesce(num_tokens, 0) = 0
),

unvisited_trees as (
    select 'search_nodes', tree_id, max(night), 'no simulation passed through the root'
    from search_nodes
    where tree_id not in (select tree_id from rollouts where error is not null and tree_id is not null)
    group by tree_id
    having coalesce(max(visit_count) filter (where node_id = 0), 0) = 0
)

select table_name, row_id, night, what
from (select * from rollouts_without_tokens union all select * from unvisited_trees)
order by table_name, row_id
