-- Lengths in characters of what is learned from, per set.
--
-- in:     sft, preference, stepwise
-- params: $night
-- out:    one row per series and length, with its number of rows

with texts as (
    select 'sft completion' as series, len(completion) as num_chars from sft where night = $night
    union all
    select 'preference chosen', len(chosen) from preference where night = $night
    union all
    select 'preference rejected', len(rejected) from preference where night = $night
    union all
    select 'stepwise path', len(array_to_string(completions, '')) from stepwise where night = $night
)

select series, num_chars as x, count(*) as num_rows
from texts
where num_chars is not null
group by series, num_chars
order by series, x
