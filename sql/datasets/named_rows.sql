-- What an id names: rows of rollouts, pairs, critiques (an agent's, or the final one), refinements, problems or nodes.
--
-- in:     rollouts, evaluation_rollouts, preference_pairs, critiques, verdicts, refinements, problems, search_nodes
-- params: $row_id, $tree_id, $node_id (of tree_id:node_id; a tree alone is its root)
-- out:    one row per table and night that has such a row; night is null for problems
-- note:   every branch asks one column for one value, so that Bloom filters leave few row groups to read.

select 'rollouts' as table_name, night from rollouts where rollout_id = $row_id
union all
select 'evaluation_rollouts', night from evaluation_rollouts where rollout_id = $row_id
union all
select 'preference_pairs', night from preference_pairs where pair_id = $row_id
union all
select 'critiques', night from critiques where critique_id = $row_id
union all
select 'verdicts', night from verdicts where critique_id = $row_id
union all
select 'refinements', night from refinements where refinement_id = $row_id
union all
select 'problems', null from problems where problem_id = $row_id
union all
select 'search_nodes', night from search_nodes where tree_id = $tree_id and node_id = $node_id
order by table_name, night
