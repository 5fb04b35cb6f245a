-- What several annotators' signed strengths say of a pair (HelpSteer2-Preference).
--
-- what:   A strength from -3 to 3 says by how much chosen is better. Pairs whose strengths spread over more than
--         $max_spread have no consensus. Of the others the $num_similar most similar strengths (the window of the sorted
--         ones with the smallest range, the lowest one of equal ranges) are averaged to m; m < 0 turns the pair round and
--         weight_factor = |m| (scaled Bradley-Terry: the loss times m).
-- in:     known_pairs
-- params: $max_spread, $num_similar
-- out:    one row per pair, by position: kept, reason, score = m, is_flipped, weight_factor
-- note:   fewer strengths than $num_similar are all averaged; m = 0 is a tie; no strength at all is not annotated.

with sorted as (
    select position, list_sort(list_filter(strengths, lambda strength: isfinite(strength))) as strengths
    from known_pairs
),

windows as (
    select
        position,
        strengths,
        unnest(range(1, greatest(len(strengths) - $num_similar, 0) + 2)) as first
    from sorted
    where len(strengths) > 0
),

closest as (
    select
        position,
        round(list_avg(strengths[first : first + $num_similar - 1]), 9) as mean_strength,
        strengths[-1] - strengths[1] as spread
    from windows
    qualify row_number() over (
        partition by position
        order by strengths[least(first + $num_similar - 1, len(strengths))] - strengths[first], first
    ) = 1
),

judged as (
    select
        known_pairs.position,
        closest.mean_strength,
        case
            when closest.position is null then 'not_annotated'
            when closest.spread > $max_spread then 'no_consensus'
            when closest.mean_strength = 0 then 'tie'
        end as reason
    from known_pairs
    left join closest on closest.position = known_pairs.position
)

select
    position,
    reason is null as kept,
    reason,
    mean_strength as score,
    reason is null and mean_strength < 0 as is_flipped,
    if(reason is null, abs(mean_strength), null) as weight_factor
from judged
order by position
