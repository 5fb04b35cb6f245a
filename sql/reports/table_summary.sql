-- How many rows and tokens each table holds per night.
--
-- in:  problems, search_nodes, search_edges, rollouts, gold_steps, step_scores, critiques, verdicts, refinements,
--      preference_pairs, consistency_results, consistent_rollouts, critics, sft, preference, stepwise, prompts,
--      rl_groups, node_values, first_errors, splices, reflections, token_scores, replay
-- out: one row per table and night: table_name, night, num_rows, num_errors, num_tokens
-- note: tokens are those generated for the rows (rl_groups: those a trainer reads, token_scores: those scored); null where a table has none.
--       The text sets count no tokens, since that depends on the trainer's tokenizer.

with counted as (
    select 'problems' as table_name, 1 as position, null::varchar as night, count(*) as num_rows, null as num_errors,
        null as num_tokens
    from problems
    union all
    select 'search_nodes', 2, night, count(*), null, sum(len(token_ids)) from search_nodes group by night
    union all
    select 'search_edges', 3, night, count(*), null, null from search_edges group by night
    union all
    select 'rollouts', 4, night, count(*), count(error), sum(num_tokens) from rollouts group by night
    union all
    select 'gold_steps', 5, night, count(*), null, null from gold_steps group by night
    union all
    select 'step_scores', 6, night, count(*), null, null from step_scores group by night
    union all
    select 'critiques', 7, night, count(*), count(error), sum(num_tokens) from critiques group by night
    union all
    select 'verdicts', 8, night, count(*), count(error), null from verdicts group by night
    union all
    select 'refinements', 9, night, count(*), count(error), sum(num_tokens) from refinements group by night
    union all
    select 'preference_pairs', 10, night, count(*), null, null from preference_pairs group by night
    union all
    select 'consistency_results', 11, night, count(*), null, null from consistency_results group by night
    union all
    select 'consistent_rollouts', 12, night, count(*), null, null from consistent_rollouts group by night
    union all
    select 'critics', 13, night, count(*), null, null from critics group by night
    union all
    select 'sft', 14, night, count(*), null, null from sft group by night
    union all
    select 'preference', 15, night, count(*), null, null from preference group by night
    union all
    select 'stepwise', 16, night, count(*), null, null from stepwise group by night
    union all
    select 'prompts', 17, night, count(*), null, null from prompts group by night
    union all
    select 'rl_groups', 18, night, count(*), null, sum(len(completion_token_ids)) from rl_groups group by night
    union all
    select 'node_values', 19, night, count(*), null, null from node_values group by night
    union all
    select 'first_errors', 20, night, count(*), null, null from first_errors group by night
    union all
    select 'splices', 21, night, count(*), null, null from splices group by night
    union all
    select 'reflections', 22, night, count(*), null, null from reflections group by night
    union all
    select 'token_scores', 23, night, count(*), count(error), sum(num_tokens) from token_scores group by night
    union all
    select 'replay', 24, night, count(*), null, null from replay group by night
)

select table_name, night, num_rows, num_errors, num_tokens
from counted
order by position, night
