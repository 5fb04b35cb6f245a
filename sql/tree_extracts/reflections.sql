-- reflections: a whole wrong attempt, a pointer to its first error, and a right solution that keeps the steps before.
--
-- what:   Local refinement as in GLoRe (arXiv 2402.10963: question, wrong draft, tag of the first error, right solution
--         that shares the prefix), from the splices whose right path parts exactly before the first error. Every wrong
--         rollout with that error is an attempt of its own.
-- in:     splices, first_errors, rollouts
-- params: $pointer (text; `{step}` becomes the number of the wrong step, counted from 1), $night
-- out:    one row per distinct attempt and correction of a problem
-- note:   correction and attempt agree in their first first_error_step steps. The nodes are those of the splice: a
--         reflection's wrong step is one node, its right ones are all that follow the branch.

with candidates as (
    select
        splices.problem_id,
        splices.tree_id,
        splices.splice_id,
        first_errors.rollout_id,
        splices.prompt,
        splices.branch_node_id,
        splices.wrong_node_ids,
        splices.right_node_ids,
        rollouts.steps as attempt,
        first_errors.step as first_error_step,
        list_concat(splices.prefix_steps, splices.right_steps) as correction
    from splices
    inner join first_errors
        on first_errors.tree_id = splices.tree_id
        and first_errors.node_id = splices.wrong_node_ids[-1]
        and first_errors.last_good_node_id = splices.branch_node_id
    inner join rollouts on rollouts.rollout_id = first_errors.rollout_id
),

distinct_candidates as (
    select *
    from candidates
    qualify row_number() over (partition by problem_id, attempt, correction order by splice_id, rollout_id) = 1
)

select
    left(sha256(concat_ws(chr(31), splice_id, rollout_id)), 20) as reflection_id,
    problem_id,
    tree_id,
    splice_id,
    rollout_id,
    branch_node_id,
    wrong_node_ids,
    right_node_ids,
    prompt,
    attempt,
    first_error_step,
    replace($pointer, '{step}', (first_error_step + 1)::varchar) as reflection,
    correction,
    $night::varchar as night
from distinct_candidates
order by problem_id, reflection_id
