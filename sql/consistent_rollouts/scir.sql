-- Which preference pairs all internal judges of a model agree on (SCIR, self-consistency of internal reward models).
--
-- what:   P_k = probability of judge k that the first is better; kept are pairs with all P_k > 1/2 or all P_k < 1/2.
--             score = sum over k < l of KL(P_l || P_k)  +  $eta * sum over k of H(P_k)
--         is the inconsistency penalty (its exact form is deduced), H in nats, P kept within [1e-6, 1 - 1e-6].
-- in:     judge_preferences
-- params: $eta
-- out:    one row per pair (position, kept, reason, score), by position

with clamped as (
    select
        position,
        preferences,
        list_transform(preferences, lambda p: greatest(least(p, 1 - 1e-6), 1e-6)) as p,
        case
            when coalesce(len(preferences), 0) = 0 then 'no_preferences'
            when len(list_filter(preferences, lambda p: coalesce(not (isfinite(p) and p between 0 and 1), true))) > 0
                then 'broken_preference'
            when len(preferences) = 1 then 'single_judge'
            when list_contains(preferences, 0.5) then 'undecided'
            when list_min(preferences) < 0.5 and list_max(preferences) > 0.5 then 'judges_disagree'
        end as reason
    from judge_preferences
),

penalties as (
    select
        position,
        reason,
        coalesce(
            list_sum(
                list_transform(
                    range(1, len(p)::bigint),
                    lambda k: list_sum(
                        list_transform(
                            p[k + 1:],
                            lambda later: later * ln(later / p[k]) + (1 - later) * ln((1 - later) / (1 - p[k]))
                        )
                    )
                )
            ),
            0.0
        ) as divergence,
        list_sum(list_transform(p, lambda one: -one * ln(one) - (1 - one) * ln(1 - one))) as entropy
    from clamped
)

select
    position,
    reason is null as kept,
    reason,
    if(coalesce(reason, '') in ('no_preferences', 'broken_preference'), null, divergence + $eta * entropy) as score
from penalties
order by position
