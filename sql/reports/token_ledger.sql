-- Where did a night's tokens go, and which of them are in no row?
--
-- in:     token_usage, rollouts, critiques, refinements, evaluation_rollouts
-- params: $night
-- out:    one row per purpose (purpose, num_requests, prompt_tokens, completion_tokens, critic_tokens, row_tokens,
--         error_tokens)
-- note:   row_tokens are the completion tokens of rows that a reader can use; error_tokens those of failed rows. What
--         search generates beside its paths (candidates, completions that value a leaf) is in completion_tokens alone.
--         num_requests is null where a table does not tell.

with spent as (
    select
        1 as place,
        stage as purpose,
        sum(num_requests) as num_requests,
        sum(prompt_tokens) as prompt_tokens,
        sum(completion_tokens) as completion_tokens,
        sum(critic_tokens) as critic_tokens
    from token_usage
    where night = $night
    group by stage
    union all
    select 2, 'critiques', count(*), sum(num_prompt_tokens), sum(num_tokens), 0
    from critiques
    where night = $night
    having count(*) > 0
    union all
    select 3, 'refinements', count(*), sum(num_prompt_tokens), sum(num_tokens), 0
    from refinements
    where night = $night
    having count(*) > 0
    union all
    select 4, 'evaluation', null, null, sum(num_tokens), null
    from evaluation_rollouts
    where night = $night
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
    select 'evaluation', sum(num_tokens) filter (where error is null), sum(num_tokens) filter (where error is not null)
    from evaluation_rollouts
    where night = $night
)

select
    spent.purpose,
    spent.num_requests,
    spent.prompt_tokens,
    spent.completion_tokens,
    spent.critic_tokens,
    kept.row_tokens,
    coalesce(kept.error_tokens, 0) as error_tokens
from spent
left join kept on kept.purpose = spent.purpose
order by spent.place, spent.purpose
