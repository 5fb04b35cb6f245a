-- The steps on which Monte Carlo, judges and critic disagree most.
--
-- what:   critic: score of the step. judge: share of the agents that call it right. monte_carlo: share of the right ones
--         among all completions below tree nodes that the same steps of the same problem lead to, of at least
--         $min_completions. spread = highest - lowest of what is known.
-- in:     step_scores, critiques, search_nodes, node_values, rollouts, problems
-- params: $night, $num_rows, $min_completions
-- out:    up to $num_rows rows, one per rollout and path, widest spread first (rollout_id, problem_id, step, critic,
--         judge, monte_carlo, num_completions, num_opinions, spread, prompt, step_text, tree_id, outcome_reward)
-- note:   steps with all three opinions come before those with two; only steps up to the first that most agents call
--         wrong are compared. tree_id is a tree of the night that went the same way; null where none did.

with recursive critic as (
    select rollout_id, step, avg(score) as critic
    from step_scores
    where night = $night and source = 'critic' and score is not null
    group by rollout_id, step
),

judged as (
    select rollout_id, unnest(range(len(step_verdicts))) as step, unnest(step_verdicts) as verdict
    from critiques
    where night = $night and error is null
),

judge as (
    select rollout_id, step, avg((verdict = 'right')::int) as judge
    from judged
    group by rollout_id, step
),

first_wrong as (
    select rollout_id, min(step) as step
    from judge
    where judge < 0.5
    group by rollout_id
),

paths as (
    select tree_id, node_id, problem_id, null::varchar as path
    from search_nodes
    where night = $night and parent_id is null
    union all
    select nodes.tree_id, nodes.node_id, nodes.problem_id, concat_ws(chr(10), paths.path, nodes.step_text)
    from paths
    join search_nodes as nodes
        on nodes.tree_id = paths.tree_id and nodes.parent_id = paths.node_id and nodes.night = $night
),

tree_values as (
    select
        paths.problem_id,
        paths.path,
        sum(counts.num_right) / sum(counts.num_completions) as monte_carlo,
        sum(counts.num_completions) as num_completions,
        min(paths.tree_id) as tree_id
    from paths
    join node_values as counts
        on counts.tree_id = paths.tree_id and counts.node_id = paths.node_id and counts.night = $night
    where counts.method = 'monte_carlo' and counts.num_completions > 0
    group by paths.problem_id, paths.path
    having sum(counts.num_completions) >= $min_completions
),

sampled as (
    select
        rollouts.rollout_id,
        rollouts.problem_id,
        critic.step,
        rollouts.steps[critic.step + 1] as step_text,
        array_to_string(rollouts.steps[:critic.step + 1], chr(10)) as path,
        rollouts.outcome_reward,
        critic.critic,
        judge.judge
    from rollouts
    join critic on critic.rollout_id = rollouts.rollout_id
    left join judge on judge.rollout_id = critic.rollout_id and judge.step = critic.step
    left join first_wrong on first_wrong.rollout_id = critic.rollout_id
    where rollouts.night = $night and critic.step <= coalesce(first_wrong.step, critic.step)
),

compared as (
    select
        sampled.*,
        tree_values.monte_carlo,
        tree_values.num_completions,
        tree_values.tree_id,
        1 + (sampled.judge is not null)::int + (tree_values.monte_carlo is not null)::int as num_opinions,
        greatest(sampled.critic, sampled.judge, tree_values.monte_carlo)
            - least(sampled.critic, sampled.judge, tree_values.monte_carlo) as spread
    from sampled
    left join tree_values on tree_values.problem_id = sampled.problem_id and tree_values.path = sampled.path
),

ranked as (
    select
        *,
        row_number() over (partition by rollout_id order by num_opinions desc, spread desc, num_completions desc, step) as place,
        row_number() over (
            partition by problem_id, path order by num_opinions desc, spread desc, num_completions desc, rollout_id
        ) as place_of_path
    from compared
    where num_opinions >= 2
)

select
    ranked.rollout_id,
    ranked.problem_id,
    ranked.step,
    ranked.critic,
    ranked.judge,
    ranked.monte_carlo,
    ranked.num_completions,
    ranked.num_opinions,
    ranked.spread,
    problems.prompt,
    ranked.step_text,
    ranked.tree_id,
    ranked.outcome_reward
from ranked
left join problems on problems.problem_id = ranked.problem_id
where ranked.place = 1 and ranked.place_of_path = 1
order by ranked.num_opinions desc, ranked.spread desc, ranked.num_completions desc, ranked.rollout_id
limit $num_rows
