-- Weights of the samples of a group by length, so that the gradient has little variance (ΔL, arXiv 2509.07558).
--
-- what:   length_weight = L^-$alpha / sum of L^-$alpha over the group; the weights of a group sum to 1
-- in:     samples
-- params: $alpha (1: least variance where a gradient's variance grows with its length; 0: all alike)
-- out:    one row per sample (position, length_weight), by position
-- note:   a sample without tokens or group has no weight and is no member.

with members as (
    select position, pow(num_tokens, -$alpha) / sum(pow(num_tokens, -$alpha)) over (partition by group_id) as weight
    from samples
    where num_tokens > 0 and group_id is not null
)

select samples.position, members.weight as length_weight
from samples
left join members on members.position = samples.position
order by samples.position
