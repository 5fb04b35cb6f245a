-- Problems from easy to hard in batches of equal size, those already trained on left out (ADCL, arXiv 2505.08364).
--
-- what:   difficulty = share of wrong attempts; sorted by it, the problems that are not done form $num_batches batches.
--         After a batch has been trained on, attempts of the current policy at the next one give new counts, and this
--         is asked again: difficulty is re-estimated only for what comes next.
-- in:     problem_counts
-- params: $num_batches
-- out:    one row per problem (position, difficulty, batch), by position
-- note:   batch is 1, 2, ... and null for problems that are done. Problems never tried have no difficulty and come last.
--         Of equally hard ones the smaller problem id comes first.

with measured as (
    select
        position,
        problem_id,
        coalesce(is_done, false) as is_done,
        1 - num_right / nullif(num_tried, 0) as difficulty
    from problem_counts
),

batched as (
    select
        position,
        ntile($num_batches::bigint) over (order by difficulty nulls last, problem_id, position) as batch
    from measured
    where not is_done
)

select measured.position, measured.difficulty, batched.batch
from measured
left join batched on batched.position = measured.position
order by measured.position
