-- Which models wrote the rows of each training set of a night.
--
-- in:     sft, preference, stepwise, rl_groups, rollouts, preference_pairs, replay
-- params: $night
-- out:    one row per set and policy_version, with the number of rows; rows whose model is not known are left out
-- note:   a pair counts for both of its models where they differ.

with written as (
    select 'sft' as set_name, rollouts.policy_version as policy
    from sft
    join rollouts on rollouts.rollout_id = sft.rollout_id and rollouts.night = $night
    where sft.night = $night
    union all
    select 'sft', replay.policy_version
    from sft
    join replay on replay.rollout_id = sft.rollout_id and replay.night = $night
    where sft.night = $night and sft.origin = 'replay'
    union all
    select 'stepwise', rollouts.policy_version
    from stepwise
    join rollouts on rollouts.rollout_id = stepwise.rollout_id and rollouts.night = $night
    where stepwise.night = $night
    union all
    select 'rl_groups', policy_version
    from rl_groups
    where night = $night
    union all
    select 'preference', pairs.chosen_policy
    from preference
    join preference_pairs as pairs on pairs.pair_id = preference.pair_id and pairs.night = $night
    where preference.night = $night
    union all
    select 'preference', pairs.rejected_policy
    from preference
    join preference_pairs as pairs on pairs.pair_id = preference.pair_id and pairs.night = $night
    where preference.night = $night and pairs.rejected_policy is distinct from pairs.chosen_policy
)

select set_name, policy, count(*) as num_rows
from written
where policy is not null
group by set_name, policy
order by set_name, num_rows desc, policy
