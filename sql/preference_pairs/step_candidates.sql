-- Pairs of children of one node, with the statement and the shared prefix before them.
--
-- what:   The prefix is rebuilt from parent_id. Within a problem the widest gap of every node comes first, then the second
--         widest ones, so that a limit does not spend itself on one node.
-- in:     node_pairs, tree_nodes
-- params: $separator (ends every step)
-- out:    pair_candidates, one row per pair
-- note:   a tree whose root is missing gives no pair, because its prefix is not known.

with recursive

parents as (
    select distinct tree_id, parent_id
    from node_pairs
),

prefixes as (
    select tree_id, parent_id as origin, parent_id as node_id, '' as prefix
    from parents
    union all
    select
        prefixes.tree_id,
        prefixes.origin,
        node.parent_id as node_id,
        concat(node.step_text, $separator, prefixes.prefix) as prefix
    from prefixes
    inner join tree_nodes as node
        on node.tree_id = prefixes.tree_id and node.node_id = prefixes.node_id
    where node.parent_id is not null
),

prompts as (
    select
        prefixes.tree_id,
        prefixes.origin,
        root.problem_id,
        root.policy,
        concat(root.prompt, if(root.prompt is null, '', $separator), prefixes.prefix) as prompt
    from prefixes
    inner join tree_nodes as root
        on root.tree_id = prefixes.tree_id and root.node_id = prefixes.node_id and root.parent_id is null
),

named as (
    select
        node_pairs.*,
        prompts.problem_id,
        prompts.prompt,
        prompts.policy,
        round(node_pairs.chosen_score - node_pairs.rejected_score, 9) as margin,
        concat(node_pairs.tree_id, ':', node_pairs.chosen_node) as chosen_id,
        concat(node_pairs.tree_id, ':', node_pairs.rejected_node) as rejected_id
    from node_pairs
    inner join prompts on prompts.tree_id = node_pairs.tree_id and prompts.origin = node_pairs.parent_id
)

select
    problem_id,
    prompt,
    concat(chosen_text, $separator) as chosen,
    concat(rejected_text, $separator) as rejected,
    chosen_score,
    rejected_score,
    soft_label,
    1.0::double as weight,
    policy as chosen_policy,
    policy as rejected_policy,
    chosen_id,
    rejected_id,
    row_number() over (
        partition by tree_id, parent_id order by margin desc, chosen_node, rejected_node
    ) as place,
    concat(chosen_id, chr(1), rejected_id) as tie
from named
