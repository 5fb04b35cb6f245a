-- How often do two agents say the same of a rollout and of a step on a night?
--
-- in:     critiques
-- params: $night
-- out:    one row per pair of agents (agent, other_agent, num_rollouts, verdict_agreement, kappa, num_steps,
--         step_agreement)
-- note:   kappa is Cohen's, on verdicts: agreement beyond what the agents' own shares of `right` would give by chance;
--         null where chance agreement is 1.

with judged as (
    select agent, rollout_id, verdict, step_verdicts
    from critiques
    where night = $night and error is null
),

pairs as (
    select
        one.agent,
        other.agent as other_agent,
        one.verdict = other.verdict as is_same,
        (one.verdict = 'right')::int as one_right,
        (other.verdict = 'right')::int as other_right,
        list_zip(one.step_verdicts, other.step_verdicts)[:least(len(one.step_verdicts), len(other.step_verdicts))]
            as steps
    from judged as one
    join judged as other on other.rollout_id = one.rollout_id and other.agent > one.agent
)

select
    agent,
    other_agent,
    count(*) as num_rollouts,
    avg(is_same::int) as verdict_agreement,
    (avg(is_same::int) - (avg(one_right) * avg(other_right) + (1 - avg(one_right)) * (1 - avg(other_right))))
        / nullif(1 - (avg(one_right) * avg(other_right) + (1 - avg(one_right)) * (1 - avg(other_right))), 0) as kappa,
    sum(len(steps)) as num_steps,
    sum(len(list_filter(steps, lambda said: said[1] = said[2]))) / nullif(sum(len(steps)), 0) as step_agreement
from pairs
group by agent, other_agent
order by agent, other_agent
