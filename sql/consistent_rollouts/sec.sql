-- How often to draw from every category by what its samples taught lately (SEC, self-evolving curriculum).
--
-- what:   r_b = mean absolute advantage of the category's samples in batch b;  Q <- (1 - $alpha) * Q + $alpha * r_b for
--         every batch that has samples of it, from Q = 0, in order;  weight = softmax(Q / $temperature)
-- in:     arm_samples
-- params: $alpha, $temperature
-- out:    one row per category (arm, num_samples, num_batches, learning_value = Q, weight), by arm
-- note:   samples without an advantage, a category or a batch are left out. (arXiv 2505.14970.)

with batches as (
    select arm, batch, count(*) as num_samples, avg(abs(advantage)) as reward
    from arm_samples
    where arm is not null and batch is not null and isfinite(advantage)
    group by arm, batch
),

aged as (
    select *, row_number() over (partition by arm order by batch desc) - 1 as age
    from batches
),

arms as (
    select
        arm,
        sum(num_samples)::bigint as num_samples,
        count(*) as num_batches,
        sum($alpha * pow(1 - $alpha, age) * reward) as learning_value
    from aged
    group by arm
),

exponents as (
    select *, exp((learning_value - max(learning_value) over ()) / $temperature) as exponent
    from arms
)

select arm, num_samples, num_batches, learning_value, exponent / sum(exponent) over () as weight
from exponents
order by arm
