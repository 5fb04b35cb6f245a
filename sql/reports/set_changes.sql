-- What is in tonight's training sets that was not in those of the night before, and the other way round?
--
-- in:     sft, preference, stepwise, prompts, rl_groups
-- params: $night, $previous (null = there was none)
-- out:    one row per set (set_name, num_rows, num_before, num_added, num_removed); the last three null without $previous
-- note:   rows are compared by what a trainer reads: texts, labels or tokens. Equal rows count once.

with rows_of as (
    select 'sft' as set_name, night, md5(concat_ws(chr(0), prompt, completion)) as content from sft
    union all
    select 'preference', night, md5(concat_ws(chr(0), prompt, chosen, rejected)) from preference
    union all
    select 'stepwise', night, md5(concat_ws(chr(0), prompt, array_to_string(completions, chr(1)), labels::varchar))
    from stepwise
    union all
    select 'prompts', night, md5(concat_ws(chr(0), prompt, reference_answer)) from prompts
    union all
    select 'rl_groups', night,
        md5(concat_ws(chr(0), prompt_token_ids::varchar, completion_token_ids::varchar, reward::varchar))
    from rl_groups
),

seen as (
    select
        set_name,
        content,
        count(*) filter (where night = $night) as num_rows,
        count(*) filter (where night = $previous) as num_before
    from rows_of
    where night = $night or night = $previous
    group by set_name, content
)

select
    set_name,
    sum(num_rows) as num_rows,
    if($previous::varchar is null, null, sum(num_before)) as num_before,
    if($previous::varchar is null, null, count(*) filter (where num_rows > 0 and num_before = 0)) as num_added,
    if($previous::varchar is null, null, count(*) filter (where num_rows = 0 and num_before > 0)) as num_removed
from seen
group by set_name
order by set_name
