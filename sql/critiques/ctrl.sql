-- Critiques by whether the refinement passes (CTRL), and which of them are fit for supervised training.
--
-- what:   score = share of right ones among the graded refinements: the reward in RL. For supervised training a
--         critique is kept where at least $min_share of them pass and its text holds none of $leaks; then, with
--         $balanced, the critiques that say right and those that say wrong are thinned by lot to the shares of right
--         and wrong solutions in the input.
-- in:     judged_critiques
-- params: $min_share, $leaks, $balanced, $salt
-- out:    one row per critique (position, kept, reason, score), by position
-- note:   the lot is a hash of rollout, text and $salt. Without a graded refinement the reason is no_refinement and
--         there is no score; without a verdict nothing can be balanced: no_verdict. Where solutions of one kind are
--         missing, no critique of that verdict is kept.

with graded as (
    select
        *,
        case when verdict in ('right', 'wrong') then verdict end as said,
        list_avg(list_filter(refinement_rewards, lambda grade: grade in (0.0, 1.0))) as score
    from judged_critiques
),

judged as (
    select
        *,
        case
            when score is null then 'no_refinement'
            when score < $min_share then 'refinement_fails'
            when list_bool_or(
                list_transform($leaks::varchar[], lambda leak: contains(lower(coalesce(critique, '')), lower(leak)))
            )
                then 'mentions_hint'
            when $balanced and said is null then 'no_verdict'
        end as fault
    from graded
),

solutions as (
    select
        count(*) filter (where original_reward = 1.0) as num_right,
        count(*) filter (where original_reward = 0.0) as num_wrong
    from (select distinct rollout_id, original_reward from judged_critiques)
),

fit as (
    select
        count(*) filter (where said = 'right') as fit_right,
        count(*) filter (where said = 'wrong') as fit_wrong
    from judged
    where fault is null
),

budgets as (
    select
        if(num_wrong = 0, fit_right, least(fit_right, floor(fit_wrong * num_right / num_wrong))) as right_budget,
        if(num_right = 0, fit_wrong, least(fit_wrong, floor(fit_right * num_wrong / num_right))) as wrong_budget
    from solutions, fit
),

ranked as (
    select
        *,
        row_number() over (
            partition by fault is null, said
            order by md5_number_lower(concat(rollout_id, chr(1), critique, chr(1), $salt)), position
        ) as place
    from judged
),

decided as (
    select
        position,
        score,
        case
            when fault is not null then fault
            when $balanced and place > if(said = 'right', right_budget, wrong_budget) then 'balance_random'
        end as reason
    from ranked, budgets
)

select position, reason is null as kept, reason, score
from decided
order by position
