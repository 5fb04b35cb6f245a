-- Steps that part the samples of a group: the prefix tree of TEMPO (P2T), merged by step text.
--
-- what:   Samples of a group share a node as long as their steps are equal but for white space. V(node) = mean outcome of
--         the samples below it. Of the children of a node the one with the highest V is chosen, and every other one whose V
--         is at least $min_margin lower is rejected: the gap is the difference of their TD terms V(child) - V(node).
-- in:     responses
-- params: $min_margin, $min_samples (below both children), $separator
-- out:    pair_candidates
-- note:   the sides' ids are those of the first samples below them. Of equal V the child with more samples, then the
--         smaller text, is chosen. Without branching there is no pair.

with prefixes as (
    select
        concat_ws(chr(31), problem_id, group_id) as group_key,
        problem_id,
        response_id,
        prompt,
        policy,
        outcome_reward,
        steps,
        unnest(range(1, len(steps) + 1)) as depth,
        list_transform(steps, lambda step: trim(regexp_replace(step, '\s+', ' ', 'g'))) as plain_steps
    from responses
    where outcome_reward in (0.0, 1.0) and len(steps) > 0
),

nodes as (
    select
        group_key,
        problem_id,
        depth,
        md5(array_to_string(plain_steps[: depth - 1], chr(31))) as parent,
        plain_steps[depth] as step,
        avg(outcome_reward) as value,
        count(*) as num_samples,
        min(response_id) as response_id,
        arg_min(steps, response_id) as steps,
        arg_min(prompt, response_id) as prompt,
        arg_min(policy, response_id) as policy
    from prefixes
    group by group_key, problem_id, depth, parent, plain_steps[depth]
),

candidates as (
    select *
    from nodes
    where num_samples >= $min_samples
),

best as (
    select *
    from candidates
    qualify row_number() over (
        partition by group_key, depth, parent order by value desc, num_samples desc, step
    ) = 1
)

select
    best.problem_id,
    concat(
        best.prompt,
        array_to_string(best.steps[: best.depth - 1], $separator),
        if(best.depth > 1, $separator, '')
    ) as prompt,
    concat(best.steps[best.depth], $separator) as chosen,
    concat(other.steps[other.depth], $separator) as rejected,
    best.value as chosen_score,
    other.value as rejected_score,
    null::double as soft_label,
    1.0::double as weight,
    best.policy as chosen_policy,
    other.policy as rejected_policy,
    best.response_id as chosen_id,
    other.response_id as rejected_id,
    row_number() over (
        partition by best.group_key, best.depth, best.parent
        order by other.value, other.num_samples desc, other.step
    ) as place,
    concat(best.response_id, chr(1), other.response_id) as tie
from best
inner join candidates as other
    on other.group_key = best.group_key
    and other.depth = best.depth
    and other.parent = best.parent
    and other.step <> best.step
    and other.value < best.value
    and round(best.value - other.value, 9) >= $min_margin
