-- said: what was said of training rollouts, by agents and as final critiques, with the truth that is known of each.
--
-- in:     problems, rollouts, critiques, verdicts, refinements
-- params: none
-- out:    one row per critique that could be read and per final critique: its text, what it concludes (right | wrong),
--         the right conclusion by the rollout's grade (null = not graded), the grades of the refinements made with it,
--         and what the agents were shown as crucial information (JSON; null = not known)
-- note:   a final critique is nobody's: its agent is null. Gold steps are never read.

with refined as (
    select critique_id, list(outcome_reward order by refinement_id) as refinement_rewards
    from refinements
    where error is null and outcome_reward is not null
    group by critique_id
),

texts as (
    select critique_id, rollout_id, problem_id, agent, verdict, text
    from critiques
    where error is null
    union all
    select critique_id, rollout_id, problem_id, null, verdict, text
    from verdicts
    where error is null and critique_id is not null
)

select
    row_number() over (order by texts.critique_id) - 1 as position,
    texts.critique_id,
    texts.rollout_id,
    texts.problem_id,
    texts.agent,
    texts.verdict,
    texts.text,
    case rollouts.outcome_reward when 1.0 then 'right' when 0.0 then 'wrong' end as label,
    rollouts.outcome_reward,
    refined.refinement_rewards,
    rollouts.steps,
    verdicts.crucial_information
from texts
inner join problems on problems.problem_id = texts.problem_id and problems.split = 'train'
inner join rollouts on rollouts.rollout_id = texts.rollout_id
left join refined on refined.critique_id = texts.critique_id
left join verdicts on verdicts.rollout_id = texts.rollout_id
where trim(texts.text) <> ''
order by position
