-- The problem of a search tree.
--
-- in:     search_nodes
-- params: $tree_id, $night
-- out:    one row

select problem_id
from search_nodes
where tree_id = $tree_id and night = $night and node_id = 0
