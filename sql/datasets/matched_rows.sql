-- Rows of two versions of a set, matched by key.
--
-- in:     old_keys, new_keys
-- out:    one row per key of either, with its position in both; null = not there
-- note:   where a key occurs more than once, its first row of one version is matched with the first of the other, and
--         so on.

with old_rows as (
    select position, row_key, row_number() over (partition by row_key order by position) as occurrence from old_keys
),

new_rows as (
    select position, row_key, row_number() over (partition by row_key order by position) as occurrence from new_keys
)

select old_rows.position as old_position, new_rows.position as new_position
from old_rows
full join new_rows on new_rows.row_key = old_rows.row_key and new_rows.occurrence = old_rows.occurrence
