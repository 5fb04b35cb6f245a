-- What a reviewer reads of each rollout of a queue, and what machines say of it.
--
-- in:   review_queue, rollouts, problems, step_scores, critiques, verdicts, first_errors
-- out:  one row per rollout of the queue that exists (rollout_id, problem_id, night, problem, reference_answer, steps,
--       answer, then what machines say: outcome_reward, critic and judges per step, verdict, judged_error_step,
--       searched_error_step, step_values), in the queue's order
-- note: critic: mean score of the step; judges: share of the agents that call it right; judged_error_step: of the
--       verdict, -1 = none; searched_error_step: first step of a wrong path of a tree after which no completion was
--       right; step_values: Monte Carlo values of a tree's path. A step without an opinion has null.

with queued as (
    select
        review_queue.position,
        rollouts.rollout_id,
        rollouts.problem_id,
        rollouts.night,
        rollouts.steps,
        rollouts.answer,
        rollouts.outcome_reward,
        rollouts.step_values
    from review_queue
    join rollouts on rollouts.rollout_id = review_queue.rollout_id
),

steps as (
    select rollout_id, night, unnest(range(len(steps))) as step
    from queued
),

critic as (
    select rollout_id, step, avg(score) as score
    from step_scores
    where source = 'critic' and rollout_id in (select rollout_id from queued)
    group by rollout_id, step
),

judged as (
    select rollout_id, unnest(range(len(step_verdicts))) as step, unnest(step_verdicts) as verdict
    from critiques
    where error is null and rollout_id in (select rollout_id from queued)
),

judges as (
    select rollout_id, step, avg((verdict = 'right')::int) as share
    from judged
    where verdict is not null
    group by rollout_id, step
),

opinions as (
    select
        steps.rollout_id,
        list(critic.score order by steps.step) as critic,
        list(judges.share order by steps.step) as judges
    from steps
    left join critic on critic.rollout_id = steps.rollout_id and critic.step = steps.step
    left join judges on judges.rollout_id = steps.rollout_id and judges.step = steps.step
    group by steps.rollout_id
)

select
    queued.rollout_id,
    queued.problem_id,
    queued.night,
    problems.prompt as problem,
    problems.reference_answer,
    queued.steps,
    queued.answer,
    queued.outcome_reward,
    opinions.critic,
    opinions.judges,
    verdicts.verdict,
    verdicts.first_error_step as judged_error_step,
    first_errors.step as searched_error_step,
    queued.step_values
from queued
left join problems on problems.problem_id = queued.problem_id
left join opinions on opinions.rollout_id = queued.rollout_id
left join verdicts on verdicts.rollout_id = queued.rollout_id and verdicts.night = queued.night
left join first_errors on first_errors.rollout_id = queued.rollout_id and first_errors.night = queued.night
order by queued.position, queued.rollout_id
