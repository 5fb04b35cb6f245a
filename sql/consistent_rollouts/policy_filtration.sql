-- Which samples policy filtration keeps: those whose rewards can be trusted most (PF-PPO, arXiv 2409.06957).
--
-- what:   reward = mean step score. Of every group stay the $num_best with the highest rewards, the $num_worst with the
--         lowest ones among the rest, and $num_random of what is left, by lot.
-- in:     samples
-- params: $num_best, $num_worst, $num_random, $salt
-- out:    one row per sample (position, kept, reason, score = reward), by position
-- note:   of equal rewards the smaller rollout id counts as the better one. A group with no more samples than are wanted
--         stays whole.

with measured as (
    select
        position,
        rollout_id,
        group_id,
        round(list_avg(step_values), 9) as reward,
        case
            when group_id is null then 'not_in_group'
            when step_values is null or len(step_values) = 0 then 'no_step_scores'
            when list_count(step_values) < len(step_values) or not isfinite(list_sum(step_values))
                then 'broken_step_scores'
        end as exclusion
    from samples
),

ranked as (
    select
        *,
        row_number() over (
            partition by group_id, exclusion is null order by reward desc, rollout_id, position
        ) as place_from_best,
        count(*) over (partition by group_id, exclusion is null) as num_samples
    from measured
),

sided as (
    select
        *,
        place_from_best <= $num_best or num_samples - place_from_best < $num_worst as is_end
    from ranked
),

drawn as (
    select
        *,
        row_number() over (
            partition by group_id, exclusion is null, is_end
            order by md5_number_lower(concat(rollout_id, $salt)), rollout_id, position
        ) as place_in_lot
    from sided
),

decided as (
    select
        position,
        case
            when exclusion is not null then exclusion
            when not is_end and place_in_lot > $num_random then 'unreliable_reward'
        end as reason,
        if(exclusion is null, reward, null) as score
    from drawn
)

select position, reason is null as kept, reason, score
from decided
order by position
