-- A random sample of rows to be labelled by people, stratified by what a judge says, with its inclusion probabilities.
--
-- what:   strata: equal bins of the judge's label in [0, 1]; rows without a readable one are a stratum of their own.
--         n_h = $num_samples * N_h s_h / sum of N_h s_h, with s_h = sqrt(p_h (1 - p_h)) of the stratum's mean label p_h,
--         held in [0.05, 0.95] (0.5 where it is unread), or s_h = 1; rounded, at least 2 and at most N_h.
--         Within a stratum n_h rows are drawn without replacement, each with inclusion probability n_h / N_h.
-- in:     judge_labels
-- params: $num_samples, $num_bins, $by_uncertainty, $salt
-- out:    one row per row (position, stratum, inclusion_probability, is_sampled), by position
-- note:   the lot is a hash of row id and salt, so that it is the same on every machine. Rounding and the minimum of 2
--         let the sample be somewhat larger or smaller than $num_samples.

with labelled as (
    select
        position,
        row_id,
        case
            when judge_label >= 0 and judge_label <= 1
                then concat('bin_', least(floor(judge_label * $num_bins), $num_bins - 1)::bigint)
            else 'unread'
        end as stratum,
        if(judge_label >= 0 and judge_label <= 1, judge_label, 0.5) as label
    from judge_labels
),

strata as (
    select
        stratum,
        count(*) as num_rows,
        greatest(least(avg(label), 0.95), 0.05) as mean_label,
        if($by_uncertainty, sqrt(mean_label * (1 - mean_label)), 1) as spread
    from labelled
    group by stratum
),

sizes as (
    select
        stratum,
        num_rows,
        least(
            num_rows,
            greatest(2, round($num_samples * num_rows * spread / sum(num_rows * spread) over ())::bigint)
        ) as num_drawn
    from strata
),

ranked as (
    select
        labelled.position,
        labelled.stratum,
        sizes.num_rows,
        sizes.num_drawn,
        row_number() over (
            partition by labelled.stratum
            order by md5_number_lower(concat(labelled.row_id, $salt)), labelled.row_id, labelled.position
        ) as lot
    from labelled
    join sizes on sizes.stratum = labelled.stratum
)

select
    position,
    stratum,
    num_drawn / num_rows as inclusion_probability,
    lot <= num_drawn as is_sampled
from ranked
order by position
