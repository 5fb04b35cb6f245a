-- Votes of the judging agents on every step of a rollout.
--
-- in:   rollouts, critiques
-- out:  one row per (rollout, step) that at least one agent judged
-- note: an agent that said nothing of a step casts no vote on it; failed critiques none at all.

with votes as (
    select
        rollout_id,
        night,
        unnest(step_verdicts) as verdict,
        generate_subscripts(step_verdicts, 1) - 1 as step
    from critiques
    where error is null
)

select
    rollouts.rollout_id,
    any_value(rollouts.problem_id) as problem_id,
    any_value(rollouts.steps) as steps,
    any_value(rollouts.is_guided) as is_guided,
    votes.step,
    count(*) filter (where votes.verdict = 'right') as num_right,
    count(*) as num_votes
from votes
inner join rollouts on rollouts.rollout_id = votes.rollout_id and rollouts.night = votes.night
where votes.verdict in ('right', 'wrong') and rollouts.error is null and votes.step < len(rollouts.steps)
group by rollouts.rollout_id, votes.step
order by rollouts.rollout_id, votes.step
