-- What a judge said of a night's preference pairs.
--
-- in:     pair_judgments
-- params: $night
-- out:    rows of pair_judgments (judge, pair_id, shown_first, verdict), by pair and order

select judge, pair_id, shown_first, verdict
from pair_judgments
where night = $night
order by judge, pair_id, shown_first
