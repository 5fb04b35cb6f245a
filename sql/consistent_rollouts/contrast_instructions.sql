-- How often a reward model prefers the right one of two similar instructions or responses (Contrast Instructions).
--
-- what:   Two similar instructions with their own responses, all four scored. Of every instruction and its response
--             response:    s(I, own response) > s(I, the other's response)
--             instruction: s(I, own response) > s(the other instruction, I's response)
-- in:     contrast_scores
-- params: none
-- out:    one row per metric (metric, num_comparisons, num_ties, accuracy)
-- note:   a tie is wrong, and counted. A pair in which a score is missing, or given twice, takes no part. 50 % is chance.
--         (arXiv 2309.16155.)

with pairs as (
    select
        pair_id,
        max(score) filter (where instruction = 1 and response = 1) as s11,
        max(score) filter (where instruction = 1 and response = 2) as s12,
        max(score) filter (where instruction = 2 and response = 1) as s21,
        max(score) filter (where instruction = 2 and response = 2) as s22
    from contrast_scores
    where isfinite(score)
    group by pair_id
    having count(*) = 4 and count(distinct (instruction, response)) = 4
),

comparisons as (
    select 'response' as metric, s11 as own, s12 as other from pairs
    union all
    select 'response', s22, s21 from pairs
    union all
    select 'instruction', s11, s21 from pairs
    union all
    select 'instruction', s22, s12 from pairs
)

select
    metric,
    count(own) as num_comparisons,
    count(*) filter (where own = other) as num_ties,
    avg(if(own > other, 1.0, 0.0)) as accuracy
from comparisons
where own is not null and other is not null
group by metric
order by metric
