-- Votes of a group's samples by rank of self-certainty, and the sample they elect (Self-Certainty, arXiv 2502.18581).
--
-- what:   of the N samples with an answer, the one of rank r (1 = most certain) has votes ((N - r + 1) / N)^$power;
--         elected is, of the answer with the most votes, the most certain sample. Power 0 is the majority, a high one the
--         most certain sample.
-- in:     certain_samples
-- params: $power
-- out:    one row per sample (position, votes, answer_votes, is_elected), by position
-- note:   answers are compared as text. A certainty that is missing ranks last, equal ones by rollout id; of answers with
--         equal votes the one with the more certain sample wins. Samples without an answer or group have no votes.

with members as (
    select
        position,
        rollout_id,
        group_id,
        answer,
        if(isfinite(self_certainty), self_certainty, null) as certainty
    from certain_samples
    where answer is not null and group_id is not null
),

ranked as (
    select
        *,
        row_number() over (partition by group_id order by certainty desc nulls last, rollout_id, position) as rank,
        count(*) over (partition by group_id) as group_size
    from members
),

voted as (
    select
        *,
        pow((group_size - rank + 1) / group_size, $power) as votes,
        sum(pow((group_size - rank + 1) / group_size, $power)) over (partition by group_id, answer) as answer_votes
    from ranked
),

elected as (
    select *, row_number() over (partition by group_id order by round(answer_votes, 9) desc, rank) = 1 as is_elected
    from voted
)

select
    certain_samples.position,
    elected.votes,
    elected.answer_votes,
    coalesce(elected.is_elected, false) as is_elected
from certain_samples
left join elected on elected.position = certain_samples.position
order by certain_samples.position
