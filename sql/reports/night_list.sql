-- Which nights are there?
--
-- in:  rollouts
-- out: one row per night with rollouts (night), the earliest first

select distinct night
from rollouts
order by night
