-- Preference pairs whose sides, and preference rows whose pair, do not exist.
--
-- in:  preference_pairs, preference, search_nodes, rollouts, critiques, verdicts, refinements
-- out: offending rows (table_name, row_id, night, what), one per row and missing side
-- note: a side of a pair of steps or paths (step, ppm_step, path) is a node (tree_id:node_id), one of a pair of rollouts,
--       or of branches of theirs, a rollout, and so on.

with sides as (
    select pair_id, night, kind, 'chosen' as side, chosen_id as side_id from preference_pairs
    union all
    select pair_id, night, kind, 'rejected', rejected_id from preference_pairs
),

known as (
    select unnest(['step', 'ppm_step', 'path']) as kind, tree_id || ':' || node_id as side_id from search_nodes
    union all
    select unnest(['rollout', 'branch', 'refinement']), rollout_id from rollouts
    union all
    select 'refinement', refinement_id from refinements
    union all
    select 'critique', critique_id from critiques
    union all
    select 'critique', critique_id from verdicts where critique_id is not null
),

lost_sides as (
    select
        'preference_pairs' as table_name,
        pair_id as row_id,
        night,
        side || ' ' || coalesce(side_id, 'null') || ' does not exist' as what
    from sides
    where kind in ('step', 'ppm_step', 'path', 'rollout', 'branch', 'refinement', 'critique')
      and not exists (select 1 from known where known.kind = sides.kind and known.side_id = sides.side_id)
),

lost_pairs as (
    select 'preference', pair_id, night, 'pair ' || coalesce(pair_id, 'null') || ' does not exist'
    from preference
    where not exists (select 1 from preference_pairs where preference_pairs.pair_id = preference.pair_id)
)

select table_name, row_id, night, what
from (select * from lost_sides union all select * from lost_pairs)
order by table_name, row_id, what
