-- Are chosen sides longer than rejected ones, and how wide are the margins?
--
-- in:     preference_pairs
-- params: $night
-- out:    one row per kind (kind, num_pairs, chosen_chars, rejected_chars, share_longer, margin_p10, margin_p50,
--         margin_p90)
-- note:   chars are medians; share_longer counts half where both sides are equally long: 0.5 means no length bias.

select
    kind,
    count(*) as num_pairs,
    median(length(chosen)) as chosen_chars,
    median(length(rejected)) as rejected_chars,
    avg(case
        when length(chosen) > length(rejected) then 1.0
        when length(chosen) = length(rejected) then 0.5
        else 0.0
    end) as share_longer,
    quantile_cont(margin, 0.1) as margin_p10,
    quantile_cont(margin, 0.5) as margin_p50,
    quantile_cont(margin, 0.9) as margin_p90
from preference_pairs
where night = $night
group by kind
order by kind
