-- How many rollouts each consistency filter kept, and why it removed the others.
--
-- in:  consistency_results
-- out: one row per night, method and reason ('kept' for the kept ones), with its share of the method's rollouts

select
    night,
    method,
    if(kept, 'kept', reason) as reason,
    count(*) as num_rollouts,
    count(*) / sum(count(*)) over (partition by night, method) as share
from consistency_results
group by night, method, kept, reason
order by night, method, kept desc, num_rollouts desc, reason
