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
    select node.tree_id, node.node_id as error_node_id, node.node_id, node.parent_id, node.depth, node.step_text
    from errors
    inner join search_nodes as node on node.tree_id = errors.tree_id and node.node_id = errors.error_node_id
    union all
    select node.tree_id, wrong_paths.error_node_id, node.node_id, node.parent_id, node.depth, node.step_text
    from wrong_paths
    inner join search_nodes as node on node.tree_id = wrong_paths.tree_id and node.node_id = wrong_paths.parent_id
),

right_paths as (
    select
        leaf.tree_id,
        leaf.node_id as leaf_id,
        leaf.depth as leaf_depth,
        leaf.node_id,
        null::bigint as next_id,
        leaf.parent_id,
        leaf.depth,
        leaf.step_text
    from search_nodes as leaf
    semi join errors on errors.tree_id = leaf.tree_id
    where leaf.is_terminal and leaf.outcome_reward = 1.0
    union all
    select
        node.tree_id,
        right_paths.leaf_id,
        right_paths.leaf_depth,
        node.node_id,
        right_paths.node_id as next_id,
        node.parent_id,
        node.depth,
        node.step_text
    from right_paths
    inner join search_nodes as node on node.tree_id = right_paths.tree_id and node.node_id = right_paths.parent_id
),

shares as materialized (
    select tree_id, node_id, value
    from node_values
    where method = 'monte_carlo'
),

best_ways_on as materialized (
    select right_paths.tree_id, right_paths.node_id, right_paths.leaf_id, shares.value
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
        wrong_paths.depth as branch_depth,
        best_ways_on.leaf_id,
        best_ways_on.value as right_value
    from wrong_paths
    inner join best_ways_on
        on best_ways_on.tree_id = wrong_paths.tree_id and best_ways_on.node_id = wrong_paths.node_id
    where wrong_paths.node_id <> wrong_paths.error_node_id
    qualify row_number() over (
        partition by wrong_paths.tree_id, wrong_paths.error_node_id order by wrong_paths.depth desc
    ) = 1
),

wrong_texts as materialized (
    select
        path.tree_id,
        path.error_node_id,
        list(path.step_text order by path.depth)
            filter (where path.depth between 1 and branches.branch_depth) as prefix_steps,
        list(path.step_text order by path.depth) filter (where path.depth > branches.branch_depth) as wrong_steps,
        list(path.node_id order by path.depth) filter (where path.depth > branches.branch_depth) as wrong_node_ids,
        min_by(shares.value, path.depth) filter (where path.depth > branches.branch_depth) as wrong_value
    from branches
    inner join wrong_paths as path
        on path.tree_id = branches.tree_id and path.error_node_id = branches.error_node_id
    left join shares on shares.tree_id = path.tree_id and shares.node_id = path.node_id
    group by path.tree_id, path.error_node_id
),

right_texts as materialized (
    select
        branches.tree_id,
        branches.error_node_id,
        list(path.step_text order by path.depth) as right_steps,
        list(path.node_id order by path.depth) as right_node_ids
    from branches
    inner join right_paths as path on path.tree_id = branches.tree_id and path.leaf_id = branches.leaf_id
    where path.depth > branches.branch_depth
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
        wrong_texts.wrong_value,
        round(branches.right_value - wrong_texts.wrong_value, 9) as value_gap,
        left(sha256(concat_ws(
            chr(30),
            $night,
            problems.problem_id,
            array_to_string(wrong_texts.prefix_steps, chr(31)),
            array_to_string(wrong_texts.wrong_steps, chr(31)),
            array_to_string(right_texts.right_steps, chr(31))
        )), 20) as splice_id
    from errors
    inner join branches on branches.tree_id = errors.tree_id and branches.error_node_id = errors.error_node_id
    inner join wrong_texts on wrong_texts.tree_id = errors.tree_id and wrong_texts.error_node_id = errors.error_node_id
    inner join right_texts on right_texts.tree_id = errors.tree_id and right_texts.error_node_id = errors.error_node_id
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
