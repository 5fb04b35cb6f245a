-- Graded rollouts with one critique that agrees with their grade, for a critic that writes before it scores (CLoud).
--
-- in:   problems, rollouts, critiques
-- params: $split: train | held_out
-- out:  one row per graded rollout with steps
-- note: of several critiques that agree it is the first by agent; critique is null where none does. Verdicts that are
--       neither right nor wrong agree with nothing, and failed critiques count for nothing.

with agreeing as (
    select
        critiques.rollout_id,
        arg_min(critiques.text, struct_pack(agent := critiques.agent, id := critiques.critique_id)) as critique
    from critiques
    inner join rollouts on rollouts.rollout_id = critiques.rollout_id and rollouts.night = critiques.night
    where critiques.error is null
        and len(critiques.text) > 0
        and critiques.verdict = case when rollouts.outcome_reward = 1.0 then 'right' else 'wrong' end
    group by critiques.rollout_id
)

select
    rollouts.rollout_id,
    any_value(rollouts.problem_id) as problem_id,
    any_value(problems.prompt) as prompt,
    any_value(rollouts.steps) as steps,
    any_value(rollouts.outcome_reward) as outcome_reward,
    any_value(agreeing.critique) as critique
from rollouts
inner join problems on problems.problem_id = rollouts.problem_id
left join agreeing on agreeing.rollout_id = rollouts.rollout_id
where rollouts.error is null
    and problems.split = $split
    and rollouts.outcome_reward in (0.0, 1.0)
    and len(rollouts.steps) > 0
group by rollouts.rollout_id
order by rollouts.rollout_id
