-- splices: a wrong path up to its first error, a thought that turns round, and the right path of the same tree.
--
-- what:   Agent-R (arXiv 2501.11425): keep the bad path up to the step where it is known to be lost, add a revision
--         thought, go on along the good path from where the two part. Here the first error comes from the tree. The
--         good path is the right answer that shares most steps with the wrong path; of several the one whose first step
--         of its own has the highest Monte Carlo value, then the shorter. MMC pairs the same good and bad children of
--         one node.
--         value_gap = Monte Carlo value of the right path's first own step - that of the wrong path's, in [-1, 1].
-- in:     problems, search_nodes, node_values (monte_carlo), first_errors
-- params: $min_value_gap (BETA of Agent-R), $min_right_value (ALPHA: value of the right path's first own step),
--         $max_splices_per_problem, $transitions (texts, one is taken by the splice's id), $night
-- out:    one row per distinct text of prefix, wrong and right steps
-- note:   prefix_steps + wrong_steps ends with the first error; prefix_steps + right_steps is a whole right solution. A
--         trainer masks prompt, prefix_steps and wrong_steps and learns from transition and right_steps. Of the wrong
--         rollouts with this error the first by id is named. Paths follow parent_id.

with recursive

errors as materialized (
    select tree_id, node_id as error_node_id, problem_id, min(rollout_id) as rollout_id
    from first_errors
    group by tree_id, node_id, problem_id
),

wrong_paths as (
    select tree_id, error_node_id, error_node_id as node_id
    from errors
    union all
    select wrong_paths.tree_id, wrong_paths.error_node_id, node.parent_id as node_id
    from wrong_paths
    inner join search_nodes as node on node.tree_id = wrong_paths.tree_id and node.node_id = wrong_paths.node_id
    where node.parent_id is not null
),

right_paths as (
    select nodes.tree_id, nodes.node_id as leaf_id, nodes.node_id, null::bigint as next_id, nodes.depth as leaf_depth
    from search_nodes as nodes
    semi join errors on errors.tree_id = nodes.tree_id
    where nodes.is_terminal and nodes.outcome_reward = 1.0
    union all
    select
        right_paths.tree_id,
        right_paths.leaf_id,
        node.parent_id as node_id,
        node.node_id as next_id,
        right_paths.leaf_depth
    from right_paths
    inner join search_nodes as node on node.tree_id = right_paths.tree_id and node.node_id = right_paths.node_id
    where node.parent_id is not null
),

shares as materialized (
    select tree_id, node_id, value
    from node_values
    where method = 'monte_carlo'
),

best_ways_on as materialized (
    select right_paths.tree_id, right_paths.node_id, right_paths.leaf_id, right_paths.next_id, shares.value
    from right_paths
    inner join shares on shares.tree_id = right_paths.tree_id and shares.node_id = right_paths.next_id
    qualify row_number() over (
        partition by right_paths.tree_id, right_paths.node_id
        order by shares.value desc, right_paths.leaf_depth, right_paths.leaf_id
    ) = 1
),

branches as materialized (
    select
        wrong_paths.tree_id,
        wrong_paths.error_node_id,
        wrong_paths.node_id as branch_node_id,
        node.depth as branch_depth,
        best_ways_on.leaf_id,
        best_ways_on.next_id,
        best_ways_on.value as right_value
    from wrong_paths
    inner join best_ways_on
        on best_ways_on.tree_id = wrong_paths.tree_id and best_ways_on.node_id = wrong_paths.node_id
    inner join search_nodes as node on node.tree_id = wrong_paths.tree_id and node.node_id = wrong_paths.node_id
    where wrong_paths.node_id <> wrong_paths.error_node_id
    qualify row_number() over (
        partition by wrong_paths.tree_id, wrong_paths.error_node_id order by node.depth desc
    ) = 1
),

wrong_texts as materialized (
    select
        branches.tree_id,
        branches.error_node_id,
        list(node.step_text order by node.depth)
            filter (where node.depth between 1 and branches.branch_depth) as prefix_steps,
        list(node.step_text order by node.depth) filter (where node.depth > branches.branch_depth) as wrong_steps,
        list(node.node_id order by node.depth) filter (where node.depth > branches.branch_depth) as wrong_node_ids
    from branches
    inner join wrong_paths
        on wrong_paths.tree_id = branches.tree_id and wrong_paths.error_node_id = branches.error_node_id
    inner join search_nodes as node on node.tree_id = wrong_paths.tree_id and node.node_id = wrong_paths.node_id
    group by branches.tree_id, branches.error_node_id
),

right_texts as materialized (
    select
        branches.tree_id,
        branches.error_node_id,
        list(node.step_text order by node.depth) as right_steps,
        list(node.node_id order by node.depth) as right_node_ids
    from branches
    inner join right_paths on right_paths.tree_id = branches.tree_id and right_paths.leaf_id = branches.leaf_id
    inner join search_nodes as node on node.tree_id = right_paths.tree_id and node.node_id = right_paths.node_id
    where node.depth > branches.branch_depth
    group by branches.tree_id, branches.error_node_id
),

spliced as (
    select
        errors.problem_id,
        errors.tree_id,
        errors.rollout_id,
        branches.branch_node_id,
        wrong_texts.wrong_node_ids,
        right_texts.right_node_ids,
        problems.prompt,
        coalesce(wrong_texts.prefix_steps, []) as prefix_steps,
        wrong_texts.wrong_steps,
        right_texts.right_steps,
        branches.right_value,
        first_wrong.value as wrong_value,
        round(branches.right_value - first_wrong.value, 9) as value_gap,
        left(sha256(concat_ws(
            chr(30),
            problems.problem_id,
            array_to_string(wrong_texts.prefix_steps, chr(31)),
            array_to_string(wrong_texts.wrong_steps, chr(31)),
            array_to_string(right_texts.right_steps, chr(31))
        )), 20) as splice_id
    from errors
    inner join branches on branches.tree_id = errors.tree_id and branches.error_node_id = errors.error_node_id
    inner join wrong_texts on wrong_texts.tree_id = errors.tree_id and wrong_texts.error_node_id = errors.error_node_id
    inner join right_texts on right_texts.tree_id = errors.tree_id and right_texts.error_node_id = errors.error_node_id
    inner join shares as first_wrong
        on first_wrong.tree_id = errors.tree_id and first_wrong.node_id = wrong_texts.wrong_node_ids[1]
    inner join problems on problems.problem_id = errors.problem_id
    where wrong_texts.wrong_steps[1] <> right_texts.right_steps[1]
),

distinct_splices as (
    select *
    from spliced
    where value_gap >= $min_value_gap and right_value >= $min_right_value
    qualify row_number() over (partition by splice_id order by value_gap desc, tree_id, rollout_id) = 1
),

limited as (
    select *
    from distinct_splices
    qualify row_number() over (
        partition by problem_id order by value_gap desc, splice_id
    ) <= $max_splices_per_problem
)

select
    splice_id,
    problem_id,
    tree_id,
    rollout_id,
    branch_node_id,
    wrong_node_ids,
    right_node_ids,
    prompt,
    prefix_steps,
    wrong_steps,
    list_extract($transitions::varchar[], 1 + (md5_number_lower(splice_id) % len($transitions::varchar[]))::bigint)
        as transition,
    right_steps,
    right_value,
    wrong_value,
    value_gap,
    $night::varchar as night
from limited
order by problem_id, splice_id
