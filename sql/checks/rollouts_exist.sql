-- Rows made from a rollout (or critique) that does not exist.
--
-- in:  critiques, verdicts, refinements, consistency_results, consistent_rollouts, sft, stepwise, rl_groups,
--      first_errors, splices, reflections, token_scores, rollouts, critique_units, critique_records, replay
-- out: offending rows (table_name, row_id, night, what), one per row
-- note: sft and stepwise rows need not come from a rollout; only those that name one are looked up.

with named as (
    select 'critiques' as table_name, critique_id as row_id, night, rollout_id from critiques
    union all
    select 'critique_units', unit_id, night, rollout_id from critique_units
    union all
    select 'critique_records', record_id, night, rollout_id from critique_records where rollout_id is not null
    union all
    select 'verdicts', rollout_id, night, rollout_id from verdicts
    union all
    select 'refinements', refinement_id, night, rollout_id from refinements
    union all
    select 'consistency_results', rollout_id || ' ' || method, night, rollout_id from consistency_results
    union all
    select 'consistent_rollouts', rollout_id || ' ' || method, night, rollout_id from consistent_rollouts
    union all
    select 'replay', rollout_id, night, rollout_id from replay
    union all
    select 'sft', rollout_id, night, rollout_id from sft where rollout_id is not null
    union all
    select 'stepwise', rollout_id, night, rollout_id from stepwise where rollout_id is not null
    union all
    select 'rl_groups', rollout_id, night, rollout_id from rl_groups
    union all
    select 'first_errors', rollout_id, night, rollout_id from first_errors
    union all
    select 'splices', splice_id, night, rollout_id from splices
    union all
    select 'reflections', reflection_id, night, rollout_id from reflections
    union all
    select 'token_scores', rollout_id || ' ' || model_digest, night, rollout_id from token_scores
),

lost_rollouts as (
    select table_name, row_id, night, 'rollout ' || coalesce(rollout_id, 'null') || ' does not exist' as what
    from named
    where not exists (select 1 from rollouts where rollouts.rollout_id = named.rollout_id)
),

lost_critiques as (
    select 'refinements', refinement_id, night, 'critique ' || critique_id || ' does not exist'
    from refinements
    where critique_id is not null
      and not exists (select 1 from critiques where critiques.critique_id = refinements.critique_id)
      and not exists (select 1 from verdicts where verdicts.critique_id = refinements.critique_id)
    union all
    select 'critique_units', unit_id, night, 'critique ' || critique_id || ' does not exist'
    from critique_units
    where not exists (select 1 from critiques where critiques.critique_id = critique_units.critique_id)
)

select table_name, row_id, night, what
from (select * from lost_rollouts union all select * from lost_critiques)
order by table_name, row_id
