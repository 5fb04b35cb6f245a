-- How often do two agents say the same of a step?
--
-- in:  critiques
-- out: one row per pair of agents: steps that both judged, and the share on which they agree

with judged as (
    select
        agent,
        rollout_id,
        unnest(range(len(step_verdicts))) as step,
        unnest(step_verdicts) as verdict
    from critiques
    where error is null
)

select
    one.agent,
    other.agent as other_agent,
    count(*) as num_steps,
    avg((one.verdict = other.verdict)::int) as agreement
from judged as one
join judged as other on other.rollout_id = one.rollout_id and other.step = one.step and other.agent > one.agent
group by all
order by one.agent, other_agent
