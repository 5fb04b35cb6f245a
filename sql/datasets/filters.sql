-- How many rollouts of a night each consistency filter kept, and why it removed the others.
--
-- in:     consistency_results
-- params: $night
-- out:    one row per method and reason (null for the kept ones)

select method, reason, count(*) as num_rollouts
from consistency_results
where night = $night
group by method, kept, reason
order by method, kept desc, num_rollouts desc, reason
