-- Does a judge's verdict on a pair say the same as its single scores of the two (TrustJudge)?
--
-- what:   pairwise = the verdict where both orders agree (the swapped one turned round), else tie; expected = the sign
--         of score_first - score_second, tie where they differ by less than $min_difference or not at all;
--         conflict where pairwise and expected differ.
-- in:     scored_pairs
-- params: $min_difference
-- out:    one row per pair (position, pairwise, expected, kept, reason, score), by position
-- note:   kept = no conflict; score = score_first - score_second. A pair without both verdicts or both scores has its
--         own reason and no part in a rate.

with turned as (
    select
        position,
        round(score_first - score_second, 12) as gap,
        verdict,
        case verdict_swapped when 'first' then 'second' when 'second' then 'first' else verdict_swapped end
            as turned_verdict
    from scored_pairs
),

compared as (
    select
        position,
        gap,
        case
            when coalesce(verdict, '') not in ('first', 'second', 'tie')
                or coalesce(turned_verdict, '') not in ('first', 'second', 'tie') then null
            when verdict = turned_verdict then verdict
            else 'tie'
        end as pairwise,
        case
            when gap is null or not isfinite(gap) then null
            when gap = 0 or abs(gap) < $min_difference then 'tie'
            when gap > 0 then 'first'
            else 'second'
        end as expected
    from turned
),

decided as (
    select
        *,
        case
            when pairwise is null then 'no_verdict'
            when expected is null then 'no_score'
            when pairwise != expected then 'score_comparison_conflict'
        end as reason
    from compared
)

select
    position,
    pairwise,
    expected,
    reason is null as kept,
    reason,
    if(expected is null, null, gap) as score
from decided
order by position
