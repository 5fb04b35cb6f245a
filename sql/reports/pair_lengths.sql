-- Are chosen sides longer than rejected ones, and how wide are the margins?
--
-- in:     preference_pairs
-- params: $night
-- out:    one row per kind (kind, num_pairs, chosen_chars, rejected_chars, share_longer, share_ties, margin_p10,
--         margin_p50, margin_p90)
-- note:   chars are medians; share_longer is of the pairs of unequal length, as chosen_longer_share of the asset
--         preference_pairs: 0.5 means no length bias, null that all are equally long. share_ties is of all pairs.

select
    kind,
    count(*) as num_pairs,
    median(length(chosen)) as chosen_chars,
    median(length(rejected)) as rejected_chars,
    avg((length(chosen) > length(rejected))::int) filter (where length(chosen) != length(rejected)) as share_longer,
    avg((length(chosen) = length(rejected))::int) as share_ties,
    quantile_cont(margin, 0.1) as margin_p10,
    quantile_cont(margin, 0.5) as margin_p50,
    quantile_cont(margin, 0.9) as margin_p90
from preference_pairs
where night = $night
group by kind
order by kind
