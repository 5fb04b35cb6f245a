-- How good was each night's critic, and how far did its scores move?
--
-- in:  critic_report, critic_trials
-- out: one row per night (night, auroc_frozen, auroc_unguided, step_auroc, calibration_error, rollout_auroc, drift,
--      reason, is_promotable)
-- note: auroc_frozen and auroc_unguided are one measure, the mean AUROC within problems of right against wrong rollouts,
--       on samples of the frozen evaluation problems and on trees that no critic guided. step_auroc, calibration_error
--       and rollout_auroc pool all steps, or rollouts, of the frozen problems, so that they also reward knowing which
--       problems are easy. drift is the population stability index of the scores of the night's samples against the
--       current critic's, null where there was none.

with quality as (
    select
        night,
        max(value) filter (where metric = 'step_auroc') as step_auroc,
        max(value) filter (where metric = 'step_calibration_error') as calibration_error,
        max(value) filter (where metric = 'rollout_auroc_min') as rollout_auroc
    from critic_report
    where slice = 'all'
    group by night
)

select
    quality.night,
    (trials.metrics::json -> '$.evaluation.tonight')::double as auroc_frozen,
    (trials.metrics::json -> '$.unguided.tonight')::double as auroc_unguided,
    quality.step_auroc,
    quality.calibration_error,
    quality.rollout_auroc,
    trials.drift,
    trials.reason,
    trials.is_promotable
from quality
left join critic_trials as trials on trials.night = quality.night
order by quality.night
