-- How a night's rollouts flow from its problems through grades and filters into the training sets.
--
-- what:   links between five columns: the problems; how they were answered (search, samples); the grade (right, wrong,
--         not_graded); what the configured filters said (kept, the reason why not, or tree_paths: they judge no trees);
--         the training sets. A row goes into several sets, or into none, so the last links do not add up.
-- in:     rollouts, consistency_results, consistent_rollouts, sft, preference, preference_pairs, stepwise, rl_groups,
--         refinements
-- params: $night
-- out:    one row per link (place, source, target, num_rows, num_tokens), by place; place counts from 0 at the problems
-- note:   the filter is the method of consistent_rollouts. A pair counts where its chosen side is. num_tokens is null for
--         pairs, whose tokens depend on the trainer's tokenizer. Tokens of refined solutions are known where their steps are lines.

with chosen as (
    select any_value(method) as method
    from consistent_rollouts
    where night = $night
),

tonight as (
    select
        rollouts.rollout_id,
        rollouts.num_tokens,
        if(rollouts.group_id is null, 'search', 'samples') as stage,
        case rollouts.outcome_reward when 1.0 then 'right' when 0.0 then 'wrong' else 'not_graded' end as grade,
        case
            when rollouts.group_id is null then 'tree_paths'
            when results.kept then 'kept'
            else coalesce(results.reason, 'not_judged')
        end as verdict
    from rollouts
    left join consistency_results as results
        on results.rollout_id = rollouts.rollout_id
        and results.night = rollouts.night
        and results.method = (select method from chosen)
    where rollouts.night = $night
),

refined as (
    select rollout_id, trim(array_to_string(steps, chr(10)), chr(10)) as text, min(num_tokens) as num_tokens
    from refinements
    where night = $night
    group by rollout_id, text
),

made as (
    select 'sft' as target,
        if(sft.origin = 'replay', 'replay', coalesce(tonight.verdict, 'refinements')) as source,
        coalesce(tonight.num_tokens, refined.num_tokens) as num_tokens
    from sft
    left join tonight on tonight.rollout_id = sft.rollout_id and sft.origin != 'refinements'
    left join refined
        on sft.origin = 'refinements' and refined.rollout_id = sft.rollout_id and refined.text = trim(sft.completion, chr(10))
    where sft.night = $night
    union all
    select 'preference',
        case
            when contains(pairs.chosen_id, ':') then 'tree_paths'
            else coalesce(tonight.verdict, 'refinements')
        end,
        null
    from preference
    left join preference_pairs as pairs on pairs.pair_id = preference.pair_id and pairs.night = preference.night
    left join tonight on tonight.rollout_id = pairs.chosen_id
    where preference.night = $night
    union all
    select 'stepwise', coalesce(tonight.verdict, 'refinements'), tonight.num_tokens
    from stepwise
    left join tonight on tonight.rollout_id = stepwise.rollout_id
    where stepwise.night = $night
    union all
    select 'rl_groups', coalesce(tonight.verdict, 'refinements'), len(rl_groups.completion_token_ids)
    from rl_groups
    left join tonight on tonight.rollout_id = rl_groups.rollout_id
    where rl_groups.night = $night
),

links as (
    select 0 as place, 'problems' as source, stage as target, count(*) as num_rows, sum(num_tokens) as num_tokens
    from tonight
    group by stage
    union all
    select 1, stage, grade, count(*), sum(num_tokens) from tonight group by stage, grade
    union all
    select 2, grade, verdict, count(*), sum(num_tokens) from tonight group by grade, verdict
    union all
    select 3, source, target, count(*), sum(num_tokens) from made group by source, target
)

select place, source, target, num_rows, num_tokens
from links
order by place, source, target
