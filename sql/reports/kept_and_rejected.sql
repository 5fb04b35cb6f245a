-- Some rollouts that the filter of the training sets kept, and some that it rejected, from every reason in turn.
--
-- in:     consistency_results, consistent_rollouts, rollouts, problems
-- params: $night, $num_examples
-- out:    up to $num_examples kept and as many rejected rows (reason: 'kept' or why not, prompt, solution, answer,
--         outcome_reward, score, rollout_id), kept ones first
-- note:   which ones is a lot by id, the same in every run; rollouts of no group are left out.

with chosen as (
    select any_value(method) as method
    from consistent_rollouts
    where night = $night
),

judged as (
    select
        results.rollout_id,
        results.kept,
        coalesce(results.reason, 'kept') as reason,
        results.score,
        row_number() over (
            partition by results.kept, results.reason order by md5(results.rollout_id)
        ) as place
    from consistency_results as results
    where results.night = $night
        and results.method = (select method from chosen)
        and coalesce(results.reason != 'not_in_group', true)
),

lots as (
    select *, row_number() over (partition by kept order by place, reason) as lot
    from judged
)

select
    lots.reason,
    problems.prompt,
    array_to_string(rollouts.steps, ' / ') as solution,
    rollouts.answer,
    rollouts.outcome_reward,
    lots.score,
    lots.rollout_id
from lots
join rollouts on rollouts.rollout_id = lots.rollout_id and rollouts.night = $night
left join problems on problems.problem_id = rollouts.problem_id
where lots.lot <= $num_examples
order by lots.kept desc, lots.reason, lots.place
