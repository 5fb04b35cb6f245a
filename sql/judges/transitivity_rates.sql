-- Shares of a judge's subsets of answers that hold a contradiction, over all questions.
--
-- in:  subset_counts
-- out: one row per (judge, subset_size)

select
    judge,
    subset_size,
    count(*) as num_questions,
    sum(num_subsets)::bigint as num_subsets,
    sum(num_circle)::bigint as num_circle,
    sum(num_equal)::bigint as num_equal,
    sum(num_bad)::bigint as num_bad,
    sum(num_circle) / sum(num_subsets) as circle_rate,
    sum(num_equal) / sum(num_subsets) as equal_rate,
    sum(num_bad) / sum(num_subsets) as rate
from subset_counts
group by judge, subset_size
order by judge nulls first, subset_size
