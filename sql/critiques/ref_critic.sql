-- The two rewards of a critic and their mean (RefCritic): is the verdict right, and do refinements get right by it?
--
-- what:   verdict_reward R_c = 1 where the verdict is the solution's grade, else 0
--         refinement_reward R_r = share of right ones among the graded refinements
--         reward = (R_c + $balance_weight R_r) / (1 + $balance_weight)
-- in:     judged_critiques
-- params: $balance_weight (lambda: 0 in the first stage, 1 in the second), $only_wrong
-- out:    one row per critique (position, verdict_reward, refinement_reward, reward, reason), by position
-- note:   with $only_wrong a right solution has no R_r and its reward is R_c. No grade, no verdict, or an R_r that is
--         needed and missing: no reward, and the reason.

with graded as (
    select
        position,
        if(original_reward in (0.0, 1.0), original_reward, null) as before,
        case when verdict in ('right', 'wrong') then verdict end as verdict,
        list_avg(list_filter(refinement_rewards, lambda grade: grade in (0.0, 1.0))) as after
    from judged_critiques
),

measured as (
    select
        position,
        before,
        verdict,
        if(before is null, null, (verdict = if(before = 1.0, 'right', 'wrong'))::double) as verdict_reward,
        if($only_wrong and before = 1.0, null, after) as refinement_reward,
        $balance_weight > 0 and not ($only_wrong and coalesce(before = 1.0, false)) as needs_refinement
    from graded
)

select
    position,
    verdict_reward,
    refinement_reward,
    if(
        needs_refinement,
        (verdict_reward + $balance_weight * refinement_reward) / (1 + $balance_weight),
        verdict_reward
    ) as reward,
    case
        when before is null then 'no_grade'
        when verdict is null then 'no_verdict'
        when needs_refinement and refinement_reward is null then 'no_refinement'
    end as reason
from measured
order by position
