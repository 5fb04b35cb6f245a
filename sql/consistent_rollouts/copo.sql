-- Local and global advantages and how COPO blends them by the group's consistency (arXiv 2508.04138).
--
-- what:   H = -sum p ln p over the distinct answers of the group;  local_weight w = 1 / (1 + exp(-$gamma * (H - $rho)))
--             local_advantage  = (outcome - mean of the group) / (deviation of the group + 1e-6)
--             global_advantage = (mean of the group - mean of these means) / (deviation of these means + 1e-6)
--         The loss is w * loss of the local advantages + (1 - w) * loss of the global ones: diverse groups learn from
--         their own differences, consistent ones from how they compare with others.
-- in:     samples
-- params: $gamma, $rho
-- out:    one row per sample (position, consistency_entropy, local_weight, local_advantage, global_advantage)
-- note:   deviations are those of a sample (n - 1), deduced; 0 over 0 is 0. Samples without an answer count as one
--         answer. A sample without grade or group has nulls and is no member. H is at most ln G.

with members as (
    select position, group_id, answer, outcome_reward
    from samples
    where outcome_reward in (0.0, 1.0) and group_id is not null
),

answers as (
    select group_id, count(*) / sum(count(*)) over (partition by group_id) as share
    from members
    group by group_id, answer
),

entropies as (
    select group_id, -sum(share * ln(share)) + 0.0 as entropy
    from answers
    group by group_id
),

groups as (
    select group_id, avg(outcome_reward) as mean_reward, coalesce(stddev_samp(outcome_reward), 0.0) as deviation
    from members
    group by group_id
),

batch as (
    select avg(mean_reward) as mean_reward, coalesce(stddev_samp(mean_reward), 0.0) as deviation
    from groups
),

blended as (
    select
        members.position,
        entropies.entropy,
        1 / (1 + exp(-$gamma * (entropies.entropy - $rho))) as local_weight,
        (members.outcome_reward - groups.mean_reward) / (groups.deviation + 1e-6) as local_advantage,
        (groups.mean_reward - batch.mean_reward) / (batch.deviation + 1e-6) as global_advantage
    from members
    inner join groups on groups.group_id = members.group_id
    inner join entropies on entropies.group_id = members.group_id
    cross join batch
)

select
    samples.position,
    blended.entropy as consistency_entropy,
    blended.local_weight,
    blended.local_advantage,
    blended.global_advantage
from samples
left join blended on blended.position = samples.position
order by samples.position
