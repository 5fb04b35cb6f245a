-- critique_preference: pairs of critiques, each once and so many of a problem, in the columns of `preference`.
--
-- in:     critic_pairs
-- params: $max_per_problem, $night
-- out:    one row per distinct (prompt, chosen, rejected)
-- note:   sides of equal text are no pair; a pair found both ways round contradicts itself, and both are dropped.

with distinct_pairs as (
    select *
    from critic_pairs
    where chosen <> rejected
    qualify row_number() over (partition by prompt, chosen, rejected order by place, pair_id) = 1
),

agreed as (
    select pair.*
    from distinct_pairs as pair
    anti join distinct_pairs as opposite
        on opposite.prompt = pair.prompt
        and opposite.chosen = pair.rejected
        and opposite.rejected = pair.chosen
),

limited as (
    select *
    from agreed
    qualify row_number() over (partition by problem_id order by place, md5(pair_id), pair_id) <= $max_per_problem
)

select
    prompt,
    chosen,
    rejected,
    chosen_score - rejected_score as margin,
    chosen_score,
    rejected_score,
    null::double as soft_label,
    1.0::double as weight,
    method,
    problem_id,
    pair_id,
    $night::varchar as night
from limited
order by problem_id, place, pair_id
