-- Which samples agree with most of their group (self-consistency, arXiv 2203.11171).
--
-- what:   majority = the answer that most samples of the group give; kept are its samples where its share of all the
--         group's samples is at least $min_share
-- in:     samples
-- params: $min_share
-- out:    one row per sample (position, kept, reason, score = share of the sample's own answer), by position
-- note:   answers are compared as text. Of answers with equal votes the one with the smallest rollout id wins. Samples
--         without an answer vote for nothing and count for the share.

with votes as (
    select
        group_id,
        answer,
        count(*) / any_value(group_size) as share,
        row_number() over (partition by group_id order by count(*) desc, min(rollout_id), min(position)) as place
    from (select *, count(*) over (partition by group_id) as group_size from samples)
    where answer is not null and group_id is not null
    group by group_id, answer
),

decided as (
    select
        samples.position,
        votes.share as score,
        case
            when samples.group_id is null then 'not_in_group'
            when samples.answer is null then 'no_answer'
            when votes.place > 1 then 'minority_answer'
            when votes.share < $min_share then 'low_agreement'
        end as reason
    from samples
    left join votes on votes.group_id = samples.group_id and votes.answer = samples.answer
)

select position, reason is null as kept, reason, score
from decided
order by position
