-- Search trees, those with the most mixed outcomes first, then the largest.
--
-- in:     search_nodes, problems, rollouts
-- params: $prefix (of the tree_id; '' = all), $night (null = all), $max_trees
-- out:    one row per tree and night
-- note:   a mixed tree has right and wrong answers; num_mixed is the smaller of the two counts. num_visits, recipe and
--         policy_id are null where they are not known (imported trees).

with chosen as (
    select tree_id, night, problem_id, node_id, depth, visit_count, value, outcome_reward
    from search_nodes
    where starts_with(tree_id, $prefix) and ($night::varchar is null or night = $night)
),

trees as (
    select
        tree_id,
        night,
        any_value(problem_id) as problem_id,
        count(*) as num_nodes,
        max(depth) as max_depth,
        max(visit_count) filter (where node_id = 0) as num_visits,
        max(value) filter (where node_id = 0) as root_value,
        count(*) filter (where outcome_reward = 1) as num_right,
        count(*) filter (where outcome_reward = 0) as num_wrong
    from chosen
    group by tree_id, night
),

shown as (
    select *, least(num_right, num_wrong) as num_mixed
    from trees
    order by num_mixed desc, num_nodes desc, tree_id, night
    limit $max_trees
),

recipes as (
    select tree_id, night, any_value(recipe) as recipe, any_value(policy_id) as policy_id
    from rollouts
    where tree_id in (select tree_id from shown)
    group by tree_id, night
),

statements as (
    select problem_id, any_value(prompt) as prompt, any_value(reference_answer) as reference_answer
    from problems
    where problem_id in (select problem_id from shown)
    group by problem_id
)

select
    shown.tree_id, shown.night, shown.problem_id, shown.num_nodes, shown.max_depth, shown.num_visits, shown.root_value,
    shown.num_right, shown.num_wrong, shown.num_mixed, statements.prompt, statements.reference_answer,
    recipes.recipe, recipes.policy_id
from shown
left join statements on statements.problem_id = shown.problem_id
left join recipes on recipes.tree_id = shown.tree_id and recipes.night = shown.night
order by shown.num_mixed desc, shown.num_nodes desc, shown.tree_id, shown.night
