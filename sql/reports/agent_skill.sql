-- How well does each agent tell right steps from wrong ones?
--
-- in:  critiques, gold_steps
-- out: one row per agent: steps judged, share of right steps called right and of wrong ones called wrong, their mean
-- note: only rollouts of the starter families have gold labels. Steps after the first wrong one are not counted.

with judged as (
    select
        critiques.agent,
        critiques.rollout_id,
        unnest(range(len(critiques.step_verdicts))) as step,
        unnest(critiques.step_verdicts) as verdict
    from critiques
    where critiques.error is null
),

first_errors as (
    select rollout_id, coalesce(min(step) filter (where not is_right), max(step)) as last_step
    from gold_steps
    group by rollout_id
),

compared as (
    select judged.agent, gold_steps.is_right, (judged.verdict = 'right') = gold_steps.is_right as is_true
    from judged
    join gold_steps on gold_steps.rollout_id = judged.rollout_id and gold_steps.step = judged.step
    join first_errors on first_errors.rollout_id = judged.rollout_id and judged.step <= first_errors.last_step
)

select
    agent,
    count(*) as num_steps,
    avg(is_true::int) filter (where is_right) as right_called_right,
    avg(is_true::int) filter (where not is_right) as wrong_called_wrong,
    (right_called_right + wrong_called_wrong) / 2 as balanced_accuracy
from compared
group by agent
order by agent
