-- How strongly an ensemble of critics prefers each pair, and what that changes (Secrets of RLHF II, arXiv 2401.06080).
--
-- what:   With the members' scores c_m and r_m:  mu = mean (c_m - r_m), sigma = population deviation of c_m - r_m,
--         p = mean 1 / (1 + exp(r_m - c_m)). Pairs are ranked by mu over the whole table; the lowest $low_share with mu < 0
--         are likely mislabelled, those up to $high_share ambiguous, the others strong. By $mode
--             flip         likely mislabelled pairs are turned round
--             drop         likely mislabelled pairs are removed
--             soft_label   pairs that are not strong get p as label; p < 0.5 turns the pair round, with 1 - p
--             margin       every pair's margin becomes mu
--             down_weight  strong pairs get $strong_weight
-- in:     known_pairs
-- params: $mode, $low_share, $high_share, $strong_weight
-- out:    one row per pair, by position: kept, reason, score = mu, score_deviation = sigma, is_flipped, new_soft_label,
--         new_margin, weight_factor
-- note:   a pair that is turned round has the margin -mu. A pair that was not scored by the same members on both sides, or by none, keeps everything and has no mu.

with measured as (
    select
        position,
        list_transform(list_zip(chosen_scores, rejected_scores), lambda two: two[1] - two[2]) as gaps,
        len(chosen_scores) > 0 and len(chosen_scores) = len(rejected_scores) as is_scored
    from known_pairs
),

strengths as (
    select
        position,
        round(list_avg(gaps), 9) as mu,
        list_stddev_pop(gaps) as sigma,
        list_avg(list_transform(gaps, lambda gap: 1 / (1 + exp(-gap)))) as p
    from measured
    where is_scored and len(list_filter(gaps, lambda gap: gap is null or not isfinite(gap))) = 0
),

ranked as (
    select
        *,
        (row_number() over (order by mu, position) - 1) / count(*) over () as share_below
    from strengths
),

zones as (
    select *, share_below < $low_share and mu < 0 as is_mislabelled, share_below >= $high_share as is_strong
    from ranked
)

select
    known_pairs.position,
    not coalesce($mode = 'drop' and zones.is_mislabelled, false) as kept,
    if($mode = 'drop' and zones.is_mislabelled, 'likely_mislabelled', null) as reason,
    zones.mu as score,
    zones.sigma as score_deviation,
    coalesce(
        $mode = 'flip' and zones.is_mislabelled or $mode = 'soft_label' and not zones.is_strong and zones.p < 0.5, false
    ) as is_flipped,
    if($mode = 'soft_label' and not zones.is_strong, greatest(zones.p, 1 - zones.p), null) as new_soft_label,
    case
        when $mode = 'margin' then zones.mu
        when $mode = 'flip' and zones.is_mislabelled then -zones.mu
        when $mode = 'soft_label' and not zones.is_strong and zones.p < 0.5 then -zones.mu
    end as new_margin,
    if($mode = 'down_weight' and zones.is_strong, $strong_weight::double, null) as weight_factor
from known_pairs
left join zones on zones.position = known_pairs.position
order by known_pairs.position
