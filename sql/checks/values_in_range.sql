-- Values outside their stated range or vocabulary.
--
-- in:  problems, search_nodes, rollouts, step_scores, critiques, verdicts, preference_pairs, consistency_results,
--      node_values, first_errors, splices, reflections
-- out: offending rows (table_name, row_id, night, what), one per row and column
-- note: null is "not known" and in range, except where the row says that it must be known.

with judged as (
    select
        'problems' as table_name,
        problem_id as row_id,
        null::varchar as night,
        'split ' || coalesce(split, 'null') as what
    from problems
    where split is null or split not in ('train', 'held_out')
    union all
    select 'search_nodes', tree_id || ':' || node_id, night, 'prior ' || prior from search_nodes
    where prior < 0 or isnan(prior)
    union all
    select 'search_nodes', tree_id || ':' || node_id, night, 'value ' || value from search_nodes
    where value not between 0 and 1 or isnan(value)
    union all
    select 'search_nodes', tree_id || ':' || node_id, night, 'visit_count ' || visit_count from search_nodes
    where visit_count < 0
    union all
    select 'search_nodes', tree_id || ':' || node_id, night, 'node_kind ' || node_kind from search_nodes
    where node_kind not in ('step', 'answer')
    union all
    select 'rollouts', rollout_id, night, 'finish_reason ' || coalesce(finish_reason, 'null') from rollouts
    where finish_reason is null or finish_reason not in ('stop', 'length', 'error')
    union all
    select 'rollouts', rollout_id, night, format('{} given of {} tokens', num_given_tokens, num_tokens) from rollouts
    where num_given_tokens not between 0 and num_tokens
    union all
    select 'rollouts', rollout_id, night, 'log-probabilities beside ' || num_given_tokens || ' given tokens' from rollouts
    where num_given_tokens > 0 and (token_logprobs is not null or sum_logprob is not null)
    union all
    select 'step_scores', rollout_id || ':' || step, night, 'score ' || score from step_scores
    where score not between 0 and 1 or isnan(score)
    union all
    select 'step_scores', rollout_id || ':' || step, night, 'disagreement ' || disagreement from step_scores
    where disagreement not between 0 and 0.25 + 1e-9 or isnan(disagreement)
    union all
    select 'step_scores', rollout_id || ':' || step, night, 'member_scores outside 0 to 1' from step_scores
    where len(list_filter(member_scores, lambda score: coalesce(score not between 0 and 1 or isnan(score), true))) > 0
    union all
    select 'critiques', critique_id, night, 'verdict ' || coalesce(verdict, 'null') from critiques
    where error is null and coalesce(verdict, 'null') not in ('right', 'wrong')
    union all
    select 'critiques', critique_id, night, 'verdict ' || verdict || ' beside an error' from critiques
    where error is not null and verdict is not null
    union all
    select 'verdicts', rollout_id, night, 'verdict ' || coalesce(verdict, 'null') from verdicts
    where error is null and coalesce(verdict, 'null') not in ('right', 'wrong')
    union all
    select 'verdicts', rollout_id, night, 'confidence ' || confidence from verdicts
    where confidence not between 0 and 1 or isnan(confidence)
    union all
    select 'preference_pairs', pair_id, night, 'chosen and rejected are the same' from preference_pairs
    where chosen = rejected
    union all
    select 'preference_pairs', pair_id, night, 'margin ' || margin from preference_pairs
    where not isfinite(margin)
        or (margin < 0 and soft_label is null and coalesce(margin = round(chosen_score - rejected_score, 9), true))
    union all
    select 'preference_pairs', pair_id, night, 'soft_label ' || soft_label from preference_pairs
    where soft_label not between 0.5 and 1 or isnan(soft_label)
    union all
    select 'preference_pairs', pair_id, night, 'weight ' || coalesce(weight::varchar, 'null') from preference_pairs
    where weight is null or weight < 0 or not isfinite(weight)
    union all
    select 'consistency_results', rollout_id || ' ' || method, night, 'kept with reason ' || reason
    from consistency_results
    where kept and reason is not null
    union all
    select 'consistency_results', rollout_id || ' ' || method, night, 'removed without a reason'
    from consistency_results
    where not kept and reason is null
    union all
    select
        'node_values', tree_id || ':' || node_id || ' ' || method, night, 'value ' || coalesce(value::varchar, 'null')
    from node_values
    where value is null or value not between 0 and 1 or isnan(value)
    union all
    select
        'node_values',
        tree_id || ':' || node_id || ' ' || method,
        night,
        format('{} is outside {} to {}', value, low, high)
    from node_values
    where low < 0 or high > 1 or value not between low - 1e-9 and high + 1e-9
    union all
    select 'node_values', tree_id || ':' || node_id || ' ' || method, night, 'quantiles that do not rise in [0, 1]'
    from node_values
    where list_sort(quantiles) <> quantiles or quantiles[1] < 0 or quantiles[-1] > 1
    union all
    select 'node_values', tree_id || ':' || node_id || ' ' || method, night, 'step_reward ' || step_reward
    from node_values
    where step_reward not between -1 and 1 or isnan(step_reward)
    union all
    select
        'node_values',
        tree_id || ':' || node_id || ' ' || method,
        night,
        format('{} right of {}', num_right, num_completions)
    from node_values
    where num_right not between 0 and num_completions or num_completions < 1
    union all
    select 'first_errors', rollout_id, night, 'confidence ' || confidence from first_errors
    where confidence not between 0 and 1 or isnan(confidence)
    union all
    select 'first_errors', rollout_id, night, 'nothing was right before the step' from first_errors
    where coalesce(num_right_before, 0) < 1
    union all
    select 'splices', splice_id, night, 'value_gap ' || value_gap from splices
    where value_gap not between -1 and 1 or isnan(value_gap)
    union all
    select 'splices', splice_id, night, 'no steps to splice' from splices
    where coalesce(len(wrong_steps), 0) = 0 or coalesce(len(right_steps), 0) = 0 or coalesce(transition, '') = ''
    union all
    select 'reflections', reflection_id, night, 'first_error_step ' || first_error_step from reflections
    where first_error_step not between 0 and len(attempt) - 1
    union all
    select 'reflections', reflection_id, night, 'the correction changes a step before the first error' from reflections
    where attempt[:first_error_step] <> correction[:first_error_step] or attempt = correction
)

select table_name, row_id, night, what
from judged
order by table_name, row_id, what
