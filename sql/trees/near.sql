-- Ids of trees that look like a given text, the nearest first.
--
-- in:     search_nodes
-- params: $tree_id, $night (null = all), $max_trees
-- out:    one row per tree_id

select tree_id
from search_nodes
where node_id = 0 and ($night::varchar is null or night = $night)
group by tree_id
order by jaro_winkler_similarity(left(tree_id, len($tree_id)), $tree_id) desc, tree_id
limit $max_trees
