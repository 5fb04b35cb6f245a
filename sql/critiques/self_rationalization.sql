-- Pairs of a judge's own rationales by how far their scores are from the right one (Self-rationalization).
--
-- what:   several rationales with scores of one item; target = the item's label score, or with $by_majority the score
--         that most of them give (of equally many the smallest). Chosen: a rationale whose score is the target;
--         rejected: one whose score is at least $min_gap away.
-- in:     judgments
-- params: $by_majority, $min_gap, $max_pairs_per_item
-- out:    one row per pair (item_id, prompt, chosen, rejected, margin, chosen_id, rejected_id), by item and ids
-- note:   the widest gaps are kept. Rationales without text or score make no pair; an item without a target none.

with readable as (
    select *
    from judgments
    where critique is not null and isfinite(score)
),

counts as (
    select item_id, score, count(*) as num
    from readable
    group by item_id, score
),

majorities as (
    select item_id, first(score order by num desc, score) as majority
    from counts
    group by item_id
),

targets as (
    select readable.*, if($by_majority, majority, label_score) as target
    from readable
    inner join majorities on majorities.item_id = readable.item_id
)

select
    chosen.item_id,
    chosen.prompt,
    chosen.critique as chosen,
    rejected.critique as rejected,
    abs(rejected.score - rejected.target) as margin,
    chosen.judgment_id as chosen_id,
    rejected.judgment_id as rejected_id
from targets as chosen
inner join targets as rejected
    on rejected.item_id = chosen.item_id
    and chosen.score = chosen.target
    and abs(rejected.score - rejected.target) >= $min_gap
    and chosen.critique <> rejected.critique
qualify row_number() over (
    partition by chosen.item_id
    order by margin desc, md5(concat(chosen_id, chr(1), rejected_id)), chosen_id, rejected_id
) <= $max_pairs_per_item
order by item_id, chosen_id, rejected_id
