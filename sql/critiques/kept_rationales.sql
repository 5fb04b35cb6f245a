-- Which rationales of a judge reach the label (GenRM, Critic-RM, Generative Reward Models).
--
-- what:   kept: the verdict is the label and the text holds none of $leaks (a rationale that was written with the
--         reference in sight must not speak of it); with $balanced, equally many of each label per item group, the
--         others removed by lot.
-- in:     judgments
-- params: $leaks, $balanced, $salt
-- out:    one row per judgment (position, kept, reason, score), by position
-- note:   the balance is over all items. `score` is 1 where verdict and label agree, 0 where not, null where one is
--         missing. The lot is a hash of the judgment and $salt.

with judged as (
    select
        *,
        (verdict = label)::double as agreement,
        case
            when label is null then 'no_label'
            when verdict is null then 'unreadable'
            when verdict <> label then 'wrong_verdict'
            when list_bool_or(
                list_transform($leaks::varchar[], lambda leak: contains(lower(coalesce(critique, '')), lower(leak)))
            )
                then 'mentions_reference'
        end as fault
    from judgments
),

budgets as (
    select min(num) as budget
    from (
        select labels.label, count(judged.position) as num
        from (select distinct label from judgments where label is not null) as labels
        left join judged on judged.label = labels.label and judged.fault is null
        group by labels.label
    )
),

ranked as (
    select
        *,
        row_number() over (
            partition by fault is null, label
            order by md5_number_lower(concat(judgment_id, chr(1), $salt)), position
        ) as place
    from judged
),

decided as (
    select
        position,
        agreement,
        coalesce(fault, if($balanced and place > budget, 'balance_random', null)) as reason
    from ranked, budgets
)

select position, reason is null as kept, reason, agreement as score
from decided
order by position
