-- Pairs among accepted answers (RSO, arXiv 2309.06657): first round, or a tournament.
--
-- what:   The accepted answers sit in the order of their acceptance. In the first round neighbours meet, the better score
--         is chosen. In a tournament the winners meet again, until one is left.
-- in:     accepted_responses, responses
-- params: $pairing (first_round | tournament)
-- out:    pair_candidates
-- note:   equal scores give no pair; in a tournament the earlier seat goes on. A seat without neighbour goes on without
--         meeting anybody.

with seated as (
    select accepted.group_key, accepted.seat, answer.*
    from accepted_responses as accepted
    inner join responses as answer on answer.response_id = accepted.response_id and answer.position = accepted.position
),

levels as (
    select unnest(range(1, if($pairing = 'tournament', 13, 2))) as level
),

halves as (
    select
        level,
        group_key,
        seat // (1::bigint << level) as meeting,
        (seat // (1::bigint << (level - 1))) % 2 as side,
        arg_max(seat, (score, -seat)) as seat
    from seated
    cross join levels
    group by level, group_key, meeting, side
),

meetings as (
    select one.level, one.group_key, one.seat as first_seat, two.seat as second_seat
    from halves as one
    inner join halves as two
        on two.level = one.level and two.group_key = one.group_key and two.meeting = one.meeting
        and one.side = 0 and two.side = 1
)

select
    one.problem_id,
    one.prompt,
    if(one.score > two.score, one.response, two.response) as chosen,
    if(one.score > two.score, two.response, one.response) as rejected,
    greatest(one.score, two.score) as chosen_score,
    least(one.score, two.score) as rejected_score,
    null::double as soft_label,
    1.0::double as weight,
    if(one.score > two.score, one.policy, two.policy) as chosen_policy,
    if(one.score > two.score, two.policy, one.policy) as rejected_policy,
    if(one.score > two.score, one.response_id, two.response_id) as chosen_id,
    if(one.score > two.score, two.response_id, one.response_id) as rejected_id,
    meetings.level::bigint as place,
    format('{:06d}', meetings.first_seat) as tie
from meetings
inner join seated as one on one.group_key = meetings.group_key and one.seat = meetings.first_seat
inner join seated as two on two.group_key = meetings.group_key and two.seat = meetings.second_seat
where one.score <> two.score
