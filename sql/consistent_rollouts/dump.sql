-- How often to draw from every source of problems by its upper confidence bound (DUMP, arXiv 2504.09710).
--
-- what:   mean = mean absolute advantage of the source's $window latest samples, n its samples, N those of all
--             score  = mean + sqrt(2 * ln(N + 1) / (n + 1));    weight = softmax(score / $temperature) over the sources
-- in:     arm_samples
-- params: $window, $temperature
-- out:    one row per source (arm, num_samples, mean_advantage, score, weight), by arm
-- note:   the latest are the last ones of the input. Samples without an advantage or a source are left out.

with ranked as (
    select *, row_number() over (partition by arm order by position desc) as age
    from arm_samples
    where arm is not null and isfinite(advantage)
),

arms as (
    select
        arm,
        count(*) as num_samples,
        avg(abs(advantage)) filter (where age <= $window) as mean_advantage
    from ranked
    group by arm
),

scored as (
    select *, mean_advantage + sqrt(2 * ln(sum(num_samples) over () + 1) / (num_samples + 1)) as score
    from arms
),

exponents as (
    select *, exp((score - max(score) over ()) / $temperature) as exponent
    from scored
)

select arm, num_samples, mean_advantage, score, exponent / sum(exponent) over () as weight
from exponents
order by arm
