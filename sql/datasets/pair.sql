-- A preference pair as its lineage tells it.
--
-- in:     preference_pairs
-- params: $row_id, $night
-- out:    one row, or none

select
    pair_id, problem_id, kind, method, chosen, rejected, margin, chosen_score, rejected_score, soft_label, weight,
    chosen_policy, rejected_policy, chosen_id, rejected_id, night
from preference_pairs
where pair_id = $row_id and night = $night
