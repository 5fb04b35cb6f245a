-- The numbers of a night that are compared over nights, by their stable names.
--
-- what:   tokens_per_kept_row    completion tokens of search, samples, critiques and refinements per row of sft,
--                                preference, stepwise and rl_groups
--         engine_busy_share      seconds during which a request to the engine was under way / seconds of all stages;
--                                engine start and the scoring of critics are no such seconds. Not known where a stage
--                                that asked the engine did not record it
--         prefix_hit_share       prompt tokens found in a prefix cache / prompt tokens that engines read
--         store_hit_share        requests answered by the response store / requests
--         parse_error_rate       critiques that could not be read / critiques
--         ungraded_share         rollouts without a grade / rollouts
--         yield_<method>         rollouts that a filter kept / those it judged
--         critic_auroc_frozen    chance that a right answer to a frozen evaluation problem outscores a wrong one to the
--                                same problem, by tonight's critic; mean over problems (AUROC within problems)
--         critic_auroc_unguided  the same within the problems of the night's trees that no critic guided
--         critic_step_auroc_frozen  AUROC of step scores against gold labels, all steps of the frozen problems pooled
--         ece                    calibration error of step scores on the frozen evaluation problems
--         greedy, pass<k>        accuracy of greedy decoding; at least one of k samples right (evaluation problems)
--         length_p50, length_p95 completion tokens of the night's rollouts
--         distinct_solution_share distinct solutions / independent samples, averaged over problems
--         judge_right_share      critiques that call the solution right / critiques that could be read
--         judge_bias             share of critiques that call the solution right minus the share of right ones among the
--                                solutions that they are about, graded ones alone; 0: judges say right as often as it is
--         right_share            right rollouts / graded independent samples
--         num_pairs, pair_margin_p50, num_kept_rows   preference pairs, their median margin, rows of the training sets
-- in:     rollouts, critiques, refinements, token_usage, stage_usage, consistency_results, critic_report, critic_trials,
--         policy_report, evaluation_rollouts, preference_pairs, sft, preference, stepwise, rl_groups
-- params: $night
-- out:    one row per known number (metric, value), by metric
-- note:   a number that nothing is known of has no row: it is not 0. No kept rows are 0 where something was generated.

with made as (
    select
        (select count(*) from sft where night = $night)
        + (select count(*) from preference where night = $night)
        + (select count(*) from stepwise where night = $night)
        + (select count(*) from rl_groups where night = $night) as num_rows,
        (select sum(completion_tokens) from token_usage where night = $night) as explored,
        (select coalesce(sum(num_tokens), 0) from critiques where night = $night)
        + (select coalesce(sum(num_tokens), 0) from refinements where night = $night) as criticised
),

graded as (
    select problem_id, count(*) as n, sum(outcome_reward)::bigint as c
    from evaluation_rollouts
    where night = $night and outcome_reward is not null
    group by problem_id
),

passed as (
    select
        k,
        1 - coalesce(
            list_aggregate(list_transform(range(k), lambda i: greatest(n - c - i, 0) / (n - i)), 'product'), 1
        ) as pass
    from (select *, unnest([1, 2, 4, 8, 16, 32, 64, 128, 256]) as k from graded)
    where k <= n
),

distinct_solutions as (
    select count(distinct array_to_string(steps, chr(10))) / count(*) as share
    from rollouts
    where night = $night and group_id is not null and error is null
    group by problem_id
),

numbers as (
    select 'tokens_per_kept_row' as metric, (explored + criticised) / nullif(num_rows, 0) as value from made
    union all
    select 'num_kept_rows', if(num_rows > 0 or explored is not null, num_rows, null) from made
    union all
    select 'engine_busy_share', sum(engine_seconds) / nullif(sum(seconds), 0)
    from stage_usage
    where night = $night
    having count(*) filter (where num_requests is not null and engine_seconds is null) = 0
    union all
    select 'prefix_hit_share', sum(cached_tokens) / nullif(sum(prompt_tokens), 0) from stage_usage where night = $night
    union all
    select 'store_hit_share', sum(num_from_store) / nullif(sum(num_requests), 0) from stage_usage where night = $night
    union all
    select 'parse_error_rate', avg((error is not null)::int) from critiques where night = $night
    union all
    select 'judge_right_share', avg((verdict = 'right')::int) from critiques where night = $night and error is null
    union all
    select 'judge_bias', avg((critiques.verdict = 'right')::int - rollouts.outcome_reward)
    from critiques
    join rollouts on rollouts.rollout_id = critiques.rollout_id and rollouts.night = critiques.night
    where critiques.night = $night and critiques.error is null and rollouts.outcome_reward is not null
    union all
    select 'ungraded_share', avg((outcome_reward is null)::int) from rollouts where night = $night
    union all
    select 'right_share', avg(outcome_reward) from rollouts where night = $night and group_id is not null
    union all
    select concat('yield_', method), avg(kept::int)
    from consistency_results
    where night = $night and coalesce(reason not in ('failed', 'not_in_group'), true)
    group by method
    union all
    select 'critic_auroc_frozen', max((metrics::json -> '$.evaluation.tonight')::double)
    from critic_trials
    where night = $night
    union all
    select 'critic_step_auroc_frozen', max(value)
    from critic_report
    where night = $night and slice = 'all' and metric = 'step_auroc'
    union all
    select 'ece', max(value)
    from critic_report
    where night = $night and slice = 'all' and metric = 'step_calibration_error'
    union all
    select 'critic_auroc_unguided', max((metrics::json -> '$.unguided.tonight')::double)
    from critic_trials
    where night = $night
    union all
    select 'greedy', max(accuracy) from policy_report where night = $night and strategy = 'greedy'
    union all
    select concat('pass', k), avg(pass) from passed group by k
    union all
    select 'length_p50', quantile_cont(num_tokens, 0.5) from rollouts where night = $night
    union all
    select 'length_p95', quantile_cont(num_tokens, 0.95) from rollouts where night = $night
    union all
    select 'distinct_solution_share', avg(share) from distinct_solutions
    union all
    select 'num_pairs', nullif(count(*), 0) from preference_pairs where night = $night
    union all
    select 'pair_margin_p50', median(margin) from preference_pairs where night = $night
)

select metric, value::double as value
from numbers
where value is not null and isfinite(value::double)
order by metric
