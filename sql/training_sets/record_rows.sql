-- record_rows: what the other methods of agents found worth learning from, as prompts with one answer or two.
--
-- in:     problems, critique_records
-- params: none
-- out:    one row per kept record of a training problem with a prompt and a response; `rejected` is null where it is
--         no pair
-- note:   a record with a reward of 0 or less is kept to learn from, but not to be imitated: alone it is left out, as
--         the chosen side of a pair too. Episodes of several messages have no place in prompt and completion.

select
    records.record_id,
    records.method,
    records.problem_id,
    records.rollout_id,
    records.prompt,
    records.response,
    records.rejected,
    records.reward
from critique_records as records
inner join problems on problems.problem_id = records.problem_id and problems.split = 'train'
where records.kept
    and records.error is null
    and records.roles is null
    and trim(records.prompt) <> ''
    and trim(records.response) <> ''
    and coalesce(records.reward > 0.0, true)
order by records.record_id
