-- sft: right solutions to imitate, as prompt and completion.
--
-- what:   Right solutions of four origins: `consistent_rollouts` (kept by the consistency filter), `search` (paths of
--         search trees), `refinements` (written after a critique) and `explanations` (kept records of expo and egsr,
--         written with the answer or a solution in sight). Of the first two only those that the critic trusts: all
--         steps have a score and the lowest is above $min_step_score (0 = all). A problem takes at most
--         $max_per_problem of them: in turn the best of every origin, where a solution that the agents' verdict calls
--         wrong comes after those it does not, and a higher score (of consistency; for trees the lowest step value, for
--         explanations their gain) comes first. With $by_difficulty (Prop2Diff of DART-Math, arXiv 2407.13690, sec. 3)
--         a problem takes $max_per_problem times the wrong share of tonight's graded samples of it, rounded up, at
--         least one; a problem without such samples takes $max_per_problem.
--         Good rollouts of nights before (`replay`) join them, in the same limit and behind those of tonight, as far as
--         they are no more than $replay_share of all rows; those of the problems with the lowest pass rate come first.
-- in:     problems (training split, `prompt` = the exact policy prompt), rollouts, consistent_rollouts, refinements,
--         verdicts, step_scores (of one scorer), critique_records, replay
-- params: $origins (list of the origins to take), $max_per_problem, $by_difficulty, $min_step_score, $replay_share,
--         $separator (ends every step), $night
-- out:    one row per distinct solution of a problem
-- note:   a solution is "right" by its graded answer alone; gold steps are never read. Text that the policy did not
--         write (retrieved documents) is not to be imitated, so paths with given tokens are left out.

with lowest as (
    select rollout_id, count(score) as num_scored, min(score) as score
    from step_scores
    group by rollout_id
),

limits as (
    select
        problem_id,
        greatest(1, ceil($max_per_problem * avg(1.0 - outcome_reward) - 1e-9))::bigint as max_per_problem
    from rollouts
    where $by_difficulty::boolean
        and group_id is not null
        and error is null
        and outcome_reward is not null
    group by problem_id
),

trusted as (
    select rollouts.*
    from rollouts
    left join lowest on lowest.rollout_id = rollouts.rollout_id
    where $min_step_score::double = 0.0
        or (lowest.num_scored = len(rollouts.steps) and lowest.score > $min_step_score::double)
),

consistent as (
    select
        'consistent_rollouts' as origin,
        rollouts.problem_id,
        rollouts.rollout_id,
        rollouts.steps,
        rollouts.rollout_id as solution_id,
        coalesce(verdicts.verdict = 'wrong', false) as is_suspect,
        consistent_rollouts.score,
        null::double as pass_rate
    from consistent_rollouts
    inner join trusted as rollouts on rollouts.rollout_id = consistent_rollouts.rollout_id
    left join verdicts on verdicts.rollout_id = rollouts.rollout_id
    where consistent_rollouts.outcome_reward = 1.0
),

searched as (
    select
        'search' as origin,
        rollouts.problem_id,
        rollouts.rollout_id,
        rollouts.steps,
        rollouts.rollout_id as solution_id,
        coalesce(verdicts.verdict = 'wrong', false) as is_suspect,
        list_min(rollouts.step_values) as score,
        null::double as pass_rate
    from trusted as rollouts
    left join verdicts on verdicts.rollout_id = rollouts.rollout_id
    where rollouts.tree_id is not null
        and rollouts.outcome_reward = 1.0
        and rollouts.error is null
        and coalesce(rollouts.num_given_tokens, 0) = 0
),

refined as (
    select
        'refinements' as origin,
        problem_id,
        rollout_id,
        steps,
        refinement_id as solution_id,
        false as is_suspect,
        null::double as score,
        null::double as pass_rate
    from refinements
    where outcome_reward = 1.0 and error is null
),

explained as (
    select
        'explanations' as origin,
        problem_id,
        rollout_id,
        list_filter(string_split(response, $separator), lambda step: step <> '') as steps,
        record_id as solution_id,
        false as is_suspect,
        reward as score,
        null::double as pass_rate
    from critique_records
    where method in ('expo', 'egsr') and kept
),

replayed as (
    select
        'replay' as origin,
        problem_id,
        rollout_id,
        steps,
        rollout_id as solution_id,
        false as is_suspect,
        score,
        pass_rate_now as pass_rate
    from replay
    where $replay_share::double > 0.0
),

solutions as (
    select * from consistent
    union all
    select * from searched
    union all
    select * from refined
    union all
    select * from explained
    union all
    select * from replayed
),

texts as (
    select
        problems.problem_id,
        problems.prompt,
        concat(array_to_string(solutions.steps, $separator), $separator) as completion,
        solutions.* exclude (problem_id, steps),
        solutions.origin = 'replay' as is_replay
    from solutions
    inner join problems on problems.problem_id = solutions.problem_id
    where problems.split = 'train' and len(solutions.steps) > 0
        and (solutions.origin = 'replay' or list_contains($origins, solutions.origin))
),

distinct_texts as (
    select *
    from texts
    qualify row_number() over (
        partition by prompt, completion order by is_replay, is_suspect, origin, score desc nulls last, solution_id
    ) = 1
),

ranked as (
    select
        *,
        row_number() over (
            partition by problem_id, origin order by is_suspect, score desc nulls last, md5(solution_id)
        ) as rank_in_origin
    from distinct_texts
),

limited as (
    select ranked.*
    from ranked
    left join limits on limits.problem_id = ranked.problem_id
    qualify row_number() over (
        partition by ranked.problem_id
        order by ranked.is_replay, ranked.is_suspect, ranked.rank_in_origin, ranked.origin, ranked.solution_id
    ) <= coalesce(limits.max_per_problem, $max_per_problem)
),

placed as (
    select
        *,
        count(*) filter (where not is_replay) over () as num_fresh,
        row_number() over (partition by is_replay order by pass_rate, md5(solution_id), solution_id) as place
    from limited
)

select prompt, completion, problem_id, rollout_id, origin, $night::varchar as night
from placed
where not is_replay or place <= floor($replay_share::double / (1.0 - $replay_share::double) * num_fresh + 1e-9)
order by problem_id, origin, rank_in_origin
