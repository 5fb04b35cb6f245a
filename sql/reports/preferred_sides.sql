-- How often does a judge of a night's preference pairs prefer the side that was chosen?
--
-- in:     pair_judgments
-- params: $night
-- out:    one row per judge (judge, num_verdicts, chosen_share); ties and what could not be read are left out
-- note:   both orders count, so that a judge that follows the position alone has one half.

select
    judge,
    count(*) as num_verdicts,
    avg(((verdict = 'first') = (shown_first = 'chosen'))::int) as chosen_share
from pair_judgments
where night = $night and verdict in ('first', 'second')
group by judge
order by judge
