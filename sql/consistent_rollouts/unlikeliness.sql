-- Rewards that favour right answers which the policy finds unlikely (Rewarding the Unlikely, arXiv 2506.02355).
--
-- what:   rank 0 .. G - 1 by mean log-probability per token over the whole group, failures included, least likely first;
--             shaped_reward = outcome * (1 - $rank_penalty * rank / G)
--             advantage     = (shaped_reward - mean of the group) / (deviation of the group (n - 1) + 1e-6)
-- in:     samples
-- params: $rank_penalty
-- out:    one row per sample (position, rank, shaped_reward, advantage), by position
-- note:   a sample without grade, group, tokens or log-probability has nulls and is no member of its group. In a group
--         of one the advantage is 0. Of equal log-probabilities the smaller rollout id ranks first.

with members as (
    select position, rollout_id, group_id, outcome_reward, sum_logprob / num_tokens as mean_logprob
    from samples
    where outcome_reward in (0.0, 1.0) and group_id is not null and num_tokens > 0 and isfinite(sum_logprob)
),

ranked as (
    select
        *,
        row_number() over (partition by group_id order by mean_logprob, rollout_id, position) - 1 as rank,
        count(*) over (partition by group_id) as group_size
    from members
),

shaped as (
    select *, outcome_reward * (1 - $rank_penalty * rank / group_size) as shaped_reward
    from ranked
),

advantages as (
    select
        position,
        rank,
        shaped_reward,
        (shaped_reward - avg(shaped_reward) over grouped)
        / (coalesce(stddev_samp(shaped_reward) over grouped, 0.0) + 1e-6) as advantage
    from shaped
    window grouped as (partition by group_id)
)

select samples.position, advantages.rank, advantages.shaped_reward, advantages.advantage
from samples
left join advantages on advantages.position = samples.position
order by samples.position
