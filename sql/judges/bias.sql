-- How far a perturbation that should change nothing changes a judge's verdicts.
--
-- what:   an item is judged plain and perturbed; of each the first row by position counts.
--         consistency = items with the same verdict / items;   drop = accuracy plain - accuracy perturbed, over the
--         items with a gold verdict;   pushed = items whose verdict became the one that the perturbation suggests,
--         among those that were not judged so before.
-- in:     bias_probes
-- out:    one row per (judge, bias)
-- note:   verdicts are compared as texts and name answers, not places. Items without a verdict on either side are
--         counted as num_unreadable, items with one side only as num_single; neither has a part in a rate. The
--         interval of the consistency is Wilson's, 95 %.

with firsts as (
    select *
    from bias_probes
    where is_perturbed is not null
    qualify row_number() over (partition by judge, bias, item_id, is_perturbed order by position) = 1
),

items as (
    select
        judge,
        bias,
        item_id,
        count(*) as num_sides,
        max(verdict) filter (where not is_perturbed) as plain,
        max(verdict) filter (where is_perturbed) as perturbed,
        max(gold) as gold,
        max(pushed_to) as pushed_to
    from firsts
    group by judge, bias, item_id
),

counts as (
    select
        judge,
        bias,
        count(*) filter (where num_sides = 1) as num_single,
        count(*) filter (where num_sides = 2 and (plain is null or perturbed is null)) as num_unreadable,
        count(*) filter (where plain is not null and perturbed is not null) as num_items,
        count(*) filter (where plain = perturbed) as num_same,
        count(*) filter (where plain is not null and perturbed is not null and gold is not null) as num_gold,
        count(*) filter (where plain = gold and perturbed is not null) as num_right_plain,
        count(*) filter (where perturbed = gold and plain is not null) as num_right_perturbed,
        count(*) filter (where plain != pushed_to and perturbed is not null) as num_pushable,
        count(*) filter (where plain != pushed_to and perturbed = pushed_to) as num_pushed
    from items
    group by judge, bias
),

rates as (
    select *, num_same / nullif(num_items, 0) as consistency, 1.959963984540054 ^ 2 as z2
    from counts
)

select
    judge,
    bias,
    num_items,
    num_unreadable,
    num_single,
    consistency,
    (consistency + z2 / (2 * num_items) - sqrt(z2 * (consistency * (1 - consistency) + z2 / (4 * num_items)) / num_items))
        / (1 + z2 / num_items) as low,
    (consistency + z2 / (2 * num_items) + sqrt(z2 * (consistency * (1 - consistency) + z2 / (4 * num_items)) / num_items))
        / (1 + z2 / num_items) as high,
    num_gold,
    num_right_plain / nullif(num_gold, 0) as accuracy_plain,
    num_right_perturbed / nullif(num_gold, 0) as accuracy_perturbed,
    (num_right_plain - num_right_perturbed) / nullif(num_gold, 0) as accuracy_drop,
    num_pushable,
    num_pushed / nullif(num_pushable, 0) as pushed
from rates
order by judge nulls first, bias nulls first
