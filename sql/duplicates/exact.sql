-- Which texts are there once, and which repeat an earlier one word for word.
--
-- what:   of equal texts of one group the first by id (text order), then by position, is kept.
-- in:     texts
-- out:    one row per text (position, kept, reason, score, duplicate_of), by position
-- note:   the texts come normalised. A null group is a group too; an empty text or none at all has the reason
--         `no_text`. There is no score.

with named as (
    select
        position,
        text,
        first_value(text_id) over same as first_id,
        row_number() over same as copy_number
    from texts
    where text != ''
    window same as (partition by group_id, text order by text_id nulls last, position)
)

select
    texts.position,
    coalesce(named.copy_number = 1, false) as kept,
    case when named.position is null then 'no_text' when named.copy_number > 1 then 'exact_duplicate' end as reason,
    null::double as score,
    if(named.copy_number > 1, named.first_id, null) as duplicate_of
from texts
left join named on named.position = texts.position
order by texts.position
