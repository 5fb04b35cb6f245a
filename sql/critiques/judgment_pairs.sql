-- Pairs of judgments of one item (Direct Judgement Preference Optimization, its three kinds).
--
-- what:   critique:  reasoning and verdict, the right verdict chosen, a wrong one rejected;
--         verdict:   the verdict alone, once per item and wrong verdict;
--         deduction: asked with a right judgment what was judged, the response itself is chosen, what a weaker model
--                    deduced is rejected.
-- in:     judgments
-- params: $kinds, $max_pairs_per_item (of the kind critique)
-- out:    one row per pair (item_id, kind, prompt, chosen, rejected, chosen_id, rejected_id), by item, kind and ids
-- note:   judgments without a verdict, and items without a label, make no pair; equal texts neither.

with readable as (
    select *, verdict = label as is_right
    from judgments
    where verdict is not null and label is not null
),

critiques as (
    select
        better.item_id,
        'critique' as kind,
        better.prompt,
        concat(better.critique, chr(10), better.verdict) as chosen,
        concat(worse.critique, chr(10), worse.verdict) as rejected,
        better.judgment_id as chosen_id,
        worse.judgment_id as rejected_id
    from readable as better
    inner join readable as worse on worse.item_id = better.item_id and better.is_right and not worse.is_right
    where better.critique is not null and worse.critique is not null
    qualify row_number() over (
        partition by better.item_id
        order by md5(concat(better.judgment_id, chr(1), worse.judgment_id)), better.judgment_id, worse.judgment_id
    ) <= $max_pairs_per_item
),

verdicts as (
    select
        item_id,
        'verdict' as kind,
        min(prompt) as prompt,
        label as chosen,
        verdict as rejected,
        null::varchar as chosen_id,
        min(judgment_id) as rejected_id
    from readable
    where not is_right
    group by item_id, label, verdict
),

deductions as (
    select
        item_id,
        'deduction' as kind,
        concat(prompt, chr(10), critique, chr(10), verdict) as prompt,
        response as chosen,
        deduced_response as rejected,
        judgment_id as chosen_id,
        judgment_id as rejected_id
    from readable
    where is_right and critique is not null and response <> deduced_response
)

select item_id, kind, prompt, chosen, rejected, chosen_id, rejected_id
from (select * from critiques union all select * from verdicts union all select * from deductions)
where list_contains($kinds::varchar[], kind)
order by item_id, kind, chosen_id, rejected_id
