-- How old are the policy and the critic behind each night's training rows?
--
-- in:  rollouts, rl_groups, step_scores
-- out: one row per night with rl_groups: num_rows, policy_version, policies_since (policies that came after it and made
--      a later night), is_on_policy (none came after it), scorer_version of the critic that scored for its filters
-- note: a night with several policies shows the one that wrote most of its rows.

with policies as (
    select policy_version, min(night) as first_night
    from rollouts
    where policy_version is not null
    group by policy_version
),

counted as (
    select night, policy_version, count(*) as num, sum(count(*)) over (partition by night) as num_rows
    from rl_groups
    group by night, policy_version
),

made as (
    select night, policy_version, num_rows
    from counted
    qualify row_number() over (partition by night order by num desc, policy_version) = 1
),

scored as (
    select night, max(scorer_version) as scorer_version
    from step_scores
    where source = 'critic'
    group by night
),

aged as (
    select
        made.night,
        made.num_rows,
        made.policy_version,
        count(policies.policy_version) as policies_since
    from made
    left join policies on policies.first_night > made.night and policies.policy_version != made.policy_version
    group by made.night, made.num_rows, made.policy_version
)

select
    aged.night,
    aged.num_rows::bigint as num_rows,
    aged.policy_version,
    aged.policies_since,
    aged.policies_since = 0 as is_on_policy,
    scored.scorer_version
from aged
left join scored on scored.night = aged.night
order by aged.night
