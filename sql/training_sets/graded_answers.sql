-- graded_answers: finished samples of training problems as answers that a judge can be asked about.
--
-- in:     problems, rollouts
-- params: $separator (ends every step)
-- out:    responses (position, problem_id, response_id, prompt, response, outcome_reward), one row per sample with text

select
    row_number() over (order by rollouts.rollout_id) - 1 as position,
    rollouts.problem_id,
    rollouts.rollout_id as response_id,
    problems.prompt,
    array_to_string(rollouts.steps, $separator) as response,
    rollouts.outcome_reward
from rollouts
inner join problems on problems.problem_id = rollouts.problem_id and problems.split = 'train'
where rollouts.group_id is not null
    and rollouts.error is null
    and len(rollouts.steps) > 0
order by position
