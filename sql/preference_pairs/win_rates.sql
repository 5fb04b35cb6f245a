-- Answers whose score is their win rate against the others of the problem (SPO, arXiv 2401.04056).
--
-- what:   score = mean over the comparisons that an answer took part in of the probability that it was the better one.
-- in:     comparisons
-- params: none
-- out:    responses, one row per answer that was compared
-- note:   an answer against itself is no comparison; a preference that is no number from 0 to 1 is left out.

with judged as (
    select *
    from comparisons
    where preference between 0 and 1 and first_id <> second_id
),

sides as (
    select problem_id, prompt, first_id as response_id, first as response, first_policy as policy, preference as win
    from judged
    union all
    select problem_id, prompt, second_id, second, second_policy, 1 - preference
    from judged
)

select
    problem_id,
    problem_id as group_id,
    response_id,
    min(prompt) as prompt,
    min(response) as response,
    null::varchar[] as steps,
    null::double as outcome_reward,
    round(avg(win), 9) as score,
    min(policy) as policy
from sides
group by problem_id, response_id
