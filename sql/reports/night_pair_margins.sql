-- How wide are the gaps of the night's preference pairs?
--
-- in:     preference_pairs
-- params: $night
-- out:    one row per kind and margin bucket of width 0.1 (kind, margin_from, num_pairs)

select kind, floor(round(margin * 10, 6)) / 10 as margin_from, count(*) as num_pairs
from preference_pairs
where night = $night
group by kind, margin_from
order by kind, margin_from
