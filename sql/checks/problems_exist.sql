-- Rows that name a problem which is not in problems.
--
-- in:  search_nodes, rollouts, critiques, verdicts, refinements, preference_pairs, consistency_results,
--      consistent_rollouts, sft, preference, stepwise, prompts, rl_groups, node_values, first_errors, splices,
--      reflections, problems, critique_units, critique_records, replay
-- out: offending rows (table_name, row_id, night, what), one per row (one per tree for search_nodes and node_values)

with named as (
    select distinct 'search_nodes' as table_name, tree_id as row_id, night, problem_id from search_nodes
    union all
    select 'rollouts', rollout_id, night, problem_id from rollouts
    union all
    select 'critiques', critique_id, night, problem_id from critiques
    union all
    select 'critique_units', unit_id, night, problem_id from critique_units
    union all
    select 'critique_records', record_id, night, problem_id from critique_records
    union all
    select 'verdicts', rollout_id, night, problem_id from verdicts
    union all
    select 'refinements', refinement_id, night, problem_id from refinements
    union all
    select 'preference_pairs', pair_id, night, problem_id from preference_pairs
    union all
    select 'consistency_results', rollout_id || ' ' || method, night, problem_id from consistency_results
    union all
    select 'consistent_rollouts', rollout_id || ' ' || method, night, problem_id from consistent_rollouts
    union all
    select 'replay', rollout_id, night, problem_id from replay
    union all
    select 'sft', coalesce(rollout_id, problem_id), night, problem_id from sft
    union all
    select 'preference', pair_id, night, problem_id from preference
    union all
    select 'stepwise', coalesce(rollout_id, problem_id), night, problem_id from stepwise
    union all
    select 'prompts', problem_id, night, problem_id from prompts
    union all
    select 'rl_groups', rollout_id, night, problem_id from rl_groups
    union all
    select distinct 'node_values', tree_id, night, problem_id from node_values
    union all
    select 'first_errors', rollout_id, night, problem_id from first_errors
    union all
    select 'splices', splice_id, night, problem_id from splices
    union all
    select 'reflections', reflection_id, night, problem_id from reflections
)

select table_name, row_id, night, 'problem ' || coalesce(problem_id, 'null') || ' does not exist' as what
from named
where not exists (select 1 from problems where problems.problem_id = named.problem_id)
order by table_name, row_id
