-- What does a kept token cost? Tokens generated for independent samples against those of the rollouts a filter kept.
--
-- in:  rollouts, consistency_results
-- out: one row per night and method: rollouts and tokens generated and kept, and generated tokens per kept token
-- note: generated counts completion tokens of all samples, failed and rejected ones included; num_prompt_tokens is
--       given beside it. The cost is null where nothing was kept.

with methods as (
    select distinct night, method from consistency_results
),

kept as (
    select results.night, results.method, count(*) as num_kept, sum(rollouts.num_tokens) as kept_tokens
    from consistency_results as results
    join rollouts on rollouts.rollout_id = results.rollout_id
    where results.kept
    group by results.night, results.method
),

generated as (
    select
        night,
        count(*) as num_rollouts,
        coalesce(sum(num_tokens), 0) as generated_tokens,
        coalesce(sum(num_prompt_tokens), 0) as prompt_tokens
    from rollouts
    where group_id is not null
    group by night
)

select
    methods.night,
    methods.method,
    generated.num_rollouts,
    coalesce(kept.num_kept, 0) as num_kept,
    generated.prompt_tokens as num_prompt_tokens,
    generated.generated_tokens as num_generated_tokens,
    coalesce(kept.kept_tokens, 0) as num_kept_tokens,
    generated.generated_tokens / nullif(kept.kept_tokens, 0) as generated_per_kept_token
from methods
join generated on generated.night = methods.night
left join kept on kept.night = methods.night and kept.method = methods.method
order by methods.night, methods.method
