-- Where did a night's tokens go, and which of them are in no row?
--
-- what:   asked      what the tables tell of a purpose; answers that were replayed count as if they were asked again
--         elsewhere  what the engine did for a stage beyond that: all of a stage whose tables tell nothing
--         replayed   what the engine did not do because the response store answered: below 0
-- in:     token_usage, rollouts, critiques, refinements, evaluation_rollouts, policy_report, step_scores, stage_usage
-- params: $night
-- out:    one row per stage, purpose and kind (stage, purpose, kind, num_requests, prompt_tokens, completion_tokens,
--         critic_tokens, row_tokens, error_tokens); prompt and completion tokens of a stage add up to stage_usage
-- note:   row_tokens are the completion tokens of rows that a reader can use; error_tokens those of failed rows. What
--         search generates beside its paths (candidates, completions that value a leaf) is in completion_tokens alone.
--         critic_tokens: prompt and completion of what a critic scored, in the policy's tokens; training and trial of
--         critics are not counted. num_requests is null where a table does not tell. Where a stage has both, elsewhere
--         and replayed are told apart only by their sum, column by column.

with spent as (
    select
        1 as place,
        'rollouts' as stage,
        stage as purpose,
        sum(num_requests) as num_requests,
        sum(prompt_tokens) as prompt_tokens,
        sum(completion_tokens) as completion_tokens,
        sum(critic_tokens) as critic_tokens
    from token_usage
    where night = $night
    group by token_usage.stage
    union all
    select 2, 'critiques', 'critiques', count(*), sum(num_prompt_tokens), sum(num_tokens), 0
    from critiques
    where night = $night
    having count(*) > 0
    union all
    select 3, 'critiques', 'refinements', count(*), sum(num_prompt_tokens), sum(num_tokens), 0
    from refinements
    where night = $night
    having count(*) > 0
    union all
    select
        4, 'reports', 'evaluation, greedy', num_problems, round(prompt_tokens * num_problems)::bigint,
        round(completion_tokens * num_problems)::bigint, 0
    from policy_report
    where night = $night and strategy = 'greedy'
    union all
    select 5, 'reports', 'evaluation, samples', count(*), sum(prompt_tokens), sum(num_tokens), sum(critic_tokens)
    from (
        select
            max(num_prompt_tokens) as prompt_tokens,
            sum(num_tokens) as num_tokens,
            sum(num_prompt_tokens + num_tokens) filter (where error is null) as critic_tokens
        from evaluation_rollouts
        where night = $night
        group by problem_id
    )
    having count(*) > 0
    union all
    select
        6, 'reports', 'evaluation, search', null, round(prompt_tokens * num_problems)::bigint,
        round(completion_tokens * num_problems)::bigint, round(critic_tokens * num_problems)::bigint
    from policy_report
    where night = $night
        and ends_with(strategy, '_critic')
        and not regexp_matches(strategy, '^(best_of|weighted_majority)_[0-9]+_')
    union all
    select 7, 'step_scores', 'step scores', null, null, null, sum(num_prompt_tokens + num_tokens)
    from rollouts
    where night = $night
        and rollout_id in (select rollout_id from step_scores where night = $night and source = 'critic')
    having count(*) > 0
),

kept as (
    select
        if(group_id is null, 'search', 'samples') as purpose,
        sum(num_tokens) filter (where error is null) as row_tokens,
        sum(num_tokens) filter (where error is not null) as error_tokens
    from rollouts
    where night = $night
    group by purpose
    union all
    select 'critiques', sum(num_tokens) filter (where error is null), sum(num_tokens) filter (where error is not null)
    from critiques
    where night = $night
    union all
    select 'refinements', sum(num_tokens) filter (where error is null), sum(num_tokens) filter (where error is not null)
    from refinements
    where night = $night
    union all
    select
        'evaluation, samples', sum(num_tokens) filter (where error is null),
        sum(num_tokens) filter (where error is not null)
    from evaluation_rollouts
    where night = $night
),

told as (
    select
        stage,
        sum(num_requests) as num_requests,
        coalesce(sum(prompt_tokens), 0) as prompt_tokens,
        coalesce(sum(completion_tokens), 0) as completion_tokens,
        count(*) filter (where num_requests is null) as num_without_requests
    from spent
    group by stage
),

-- the engine's account of a stage less what its tables tell
open as (
    select
        stage_usage.stage,
        coalesce(stage_usage.num_requests - coalesce(told.num_requests, 0), 0) as num_requests,
        coalesce(stage_usage.prompt_tokens - coalesce(told.prompt_tokens, 0), 0) as prompt_tokens,
        coalesce(stage_usage.completion_tokens - coalesce(told.completion_tokens, 0), 0) as completion_tokens,
        told.stage is null as is_untold,
        coalesce(told.num_without_requests, 0) = 1 as has_one_without_requests
    from stage_usage
    left join told on told.stage = stage_usage.stage
    where stage_usage.night = $night and stage_usage.num_requests is not null
),

-- the requests of the one purpose that tells none are those that are left, where nothing else was asked
settled as (
    select
        *,
        has_one_without_requests and num_requests > 0 and prompt_tokens <= 0 and completion_tokens <= 0 as is_given
    from open
),

lines as (
    select
        spent.place,
        spent.stage,
        spent.purpose,
        'asked' as kind,
        coalesce(spent.num_requests, settled.num_requests) as num_requests,
        spent.prompt_tokens,
        spent.completion_tokens,
        spent.critic_tokens,
        kept.row_tokens,
        coalesce(kept.error_tokens, 0) as error_tokens
    from spent
    left join kept on kept.purpose = spent.purpose
    left join settled on settled.stage = spent.stage and settled.is_given
    union all
    select
        8, stage, if(is_untold, stage, 'elsewhere in the stage'), 'elsewhere',
        if(is_given, 0, greatest(num_requests, 0)), greatest(prompt_tokens, 0), greatest(completion_tokens, 0),
        null, null, 0
    from settled
    where is_untold or greatest(if(is_given, 0, num_requests), prompt_tokens, completion_tokens) > 0
    union all
    select
        9, stage, 'less what was replayed', 'replayed', null, least(prompt_tokens, 0), least(completion_tokens, 0),
        null, null, 0
    from settled
    where least(prompt_tokens, completion_tokens) < 0
)

select
    stage, purpose, kind, num_requests, prompt_tokens, completion_tokens, critic_tokens, row_tokens, error_tokens
from lines
order by min(place) over (partition by stage), stage, place, purpose
