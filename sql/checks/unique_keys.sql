-- Keys that occur more than once in their table.
--
-- in:  problems, search_nodes, search_edges, rollouts, gold_steps, step_scores, critiques, verdicts, refinements,
--      preference_pairs, consistency_results, consistent_rollouts, critics, rl_groups, node_values, first_errors,
--      splices, reflections, token_scores, token_usage, evaluation_rollouts, critic_trials, critic_promotions,
--      critique_units, critique_records, replay, new_problems, pair_judgments
-- out: offending rows (table_name, row_id, night, what), one per repeated key
-- note: night is that of the last of the rows that share the key.

with keys as (
    select 'problems' as table_name, problem_id as row_id, null::varchar as night from problems
    union all
    select 'search_nodes', tree_id || ':' || node_id, night from search_nodes
    union all
    select 'search_edges', tree_id || ':' || from_node || '>' || to_node || ' ' || coalesce(action, ''), night
    from search_edges
    union all
    select 'rollouts', rollout_id, night from rollouts
    union all
    select 'gold_steps', rollout_id || ':' || step, night from gold_steps
    union all
    select 'step_scores', rollout_id || ':' || step || ' ' || source || ' ' || scorer_version, night from step_scores
    union all
    select 'critiques', critique_id, night from critiques
    union all
    select 'critiques', rollout_id || ' ' || agent, night from critiques
    union all
    select 'critique_units', critique_id || ':' || step, night from critique_units
    union all
    select 'critique_records', record_id || ' ' || night, night from critique_records
    union all
    select 'new_problems', candidate_id, night from new_problems
    union all
    select 'verdicts', rollout_id, night from verdicts
    union all
    select 'refinements', refinement_id, night from refinements
    union all
    select 'preference_pairs', pair_id, night from preference_pairs
    union all
    select 'pair_judgments', pair_id || ' ' || shown_first || ' ' || judge_version, night from pair_judgments
    union all
    select 'consistency_results', rollout_id || ' ' || method, night from consistency_results
    union all
    select 'consistent_rollouts', rollout_id || ' ' || method, night from consistent_rollouts
    union all
    select 'critics', critic_id, night from critics
    union all
    select 'rl_groups', rollout_id, night from rl_groups
    union all
    select 'node_values', tree_id || ':' || node_id || ' ' || method, night from node_values
    union all
    select 'first_errors', rollout_id, night from first_errors
    union all
    select 'token_usage', problem_id || ' ' || stage || ' ' || night, night from token_usage
    union all
    select 'splices', splice_id, night from splices
    union all
    select 'reflections', reflection_id, night from reflections
    union all
    select 'token_scores', rollout_id || ' ' || model_digest, night from token_scores
    union all
    select 'evaluation_rollouts', rollout_id || ' ' || night, night from evaluation_rollouts
    union all
    select 'critic_trials', critic_id || ' ' || night, night from critic_trials
    union all
    select 'replay', rollout_id || ' ' || night, night from replay
    union all
    select 'critic_promotions', night || ':' || number, night from critic_promotions
)

select table_name, row_id, max(night) as night, 'the key occurs ' || count(*) || ' times' as what
from keys
group by table_name, row_id
having count(*) > 1
order by table_name, row_id
