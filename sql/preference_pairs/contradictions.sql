-- Pairs that another pair of the same problem contradicts: chosen here, rejected there.
--
-- in:     known_pairs
-- params: none
-- out:    one row per pair, by position: kept, reason, score = number of pairs that say the opposite
-- note:   both sides of a contradiction go.

with wins as (
    select problem_id, prompt, chosen, rejected, count(*) as num_pairs
    from known_pairs
    group by problem_id, prompt, chosen, rejected
)

select
    known_pairs.position,
    opposite.num_pairs is null as kept,
    if(opposite.num_pairs is null, null, 'contradicted') as reason,
    coalesce(opposite.num_pairs, 0)::double as score
from known_pairs
left join wins as opposite
    on opposite.problem_id = known_pairs.problem_id
    and opposite.prompt is not distinct from known_pairs.prompt
    and opposite.chosen = known_pairs.rejected
    and opposite.rejected = known_pairs.chosen
order by known_pairs.position
