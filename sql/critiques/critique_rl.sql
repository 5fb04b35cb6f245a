-- Rewards of a critic by whether it is right and whether it helps (Critique-RL, both stages).
--
-- what:   discriminability = 1 where the verdict is the solution's grade, else -1 (also where there is no verdict).
--         helpfulness, the mean over refinements, by $mode:
--             refine   1 where the refinement is right, else 0
--             delta    wrong to right 1, right to wrong -1, else 0
--             correct  wrong to right 1, right to right 0.2, else 0
--         reward = discriminability in stage 1; in stage 2 -1 where the verdict is not the grade, else
--         helpfulness + $bonus.
-- in:     judged_critiques
-- params: $stage, $mode (refine | delta | correct), $bonus
-- out:    one row per critique (position, discriminability, helpfulness, reward, reason), by position
-- note:   a critique without a verdict is wrong here as in the released code, and says so in its reason. Without a
--         grade of the solution there is no reward, in stage 2 none without a graded refinement either, unless the
--         verdict is wrong.

with graded as (
    select
        position,
        if(original_reward in (0.0, 1.0), original_reward, null) as before,
        case when verdict in ('right', 'wrong') then verdict end as verdict,
        list_filter(refinement_rewards, lambda grade: grade in (0.0, 1.0)) as afters
    from judged_critiques
),

measured as (
    select
        *,
        case
            when before is null then null
            when coalesce(verdict = if(before = 1.0, 'right', 'wrong'), false) then 1.0
            else -1.0
        end as discriminability,
        case
            when before is null then null
            when $mode = 'refine' then list_avg(afters)
            when $mode = 'delta' then list_avg(afters) - before
            else list_avg(afters) * if(before = 1.0, 0.2, 1.0)
        end as helpfulness
    from graded
)

select
    position,
    discriminability,
    helpfulness,
    case
        when $stage = 1 or discriminability = -1.0 then discriminability
        else helpfulness + $bonus
    end as reward,
    case
        when before is null then 'no_grade'
        when verdict is null then 'no_verdict'
        when $stage = 2 and discriminability = 1.0 and helpfulness is null then 'no_refinement'
    end as reason
from measured
order by position
