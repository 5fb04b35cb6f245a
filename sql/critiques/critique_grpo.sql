-- Answers and their refinements as one group per problem, with advantages (Critique-GRPO).
--
-- what:   a group holds every answer once and every refinement; advantage = reward - mean reward of the group, so that
--         a right refinement in a group of wrong answers stands out. With $only_right refinements that are not right
--         are left out before the mean.
-- in:     refined_responses
-- params: $only_right
-- out:    one row per answer and refinement (problem_id, response_id, prompt, response, is_refinement, reward,
--         advantage), by problem, answers first, then by id
-- note:   grades that are not 0 or 1 take no part. A group of one has the advantage 0.

with answers as (
    select problem_id, original_id as response_id, prompt, original as response, false as is_refinement,
        original_reward as reward, min(position) as place
    from refined_responses
    group by all
),

refinements as (
    select problem_id, refinement_id, prompt, refinement, true, refinement_reward, position
    from refined_responses
    where not $only_right or refinement_reward = 1.0
),

members as (
    select *
    from (select * from answers union all select * from refinements)
    where reward in (0.0, 1.0)
    qualify row_number() over (partition by problem_id, response_id, is_refinement order by place) = 1
)

select
    problem_id,
    response_id,
    prompt,
    response,
    is_refinement,
    reward,
    reward - avg(reward) over (partition by problem_id) as advantage
from members
order by problem_id, is_refinement, response_id
