-- Pairs on a cycle of wins: a over b, b over c, ..., c over a, within one problem.
--
-- what:   The texts of a problem and its wins are a graph. A pair lies on a cycle exactly where its rejected text reaches its
--         chosen one over wins; all pairs of a cycle go. Texts that never win, or never lose, lie on none and are set aside
--         before anything is followed.
-- in:     known_pairs
-- params: $max_length (of a cycle; 2 are contradictions, 3 also triangles)
-- out:    one row per pair, by position: kept, reason, score = length of the shortest cycle through the pair
-- note:   what is followed grows with the square of the texts of one problem, not of the table.

with recursive

named as (
    select
        position,
        md5_number(concat_ws(chr(31), problem_id, coalesce(prompt, ''), chosen)) as winner,
        md5_number(concat_ws(chr(31), problem_id, coalesce(prompt, ''), rejected)) as loser
    from known_pairs
),

wins as materialized (
    select distinct winner, loser
    from named
    where winner in (select loser from named) and loser in (select winner from named)
),

ways as (
    select winner as start, loser as text, 1 as length
    from wins
    union
    select ways.start, wins.loser as text, ways.length + 1 as length
    from ways
    inner join wins on wins.winner = ways.text
    where ways.length < $max_length - 1
),

returns as (
    select start, text, min(length) as length
    from ways
    group by start, text
),

found as (
    select named.position, returns.length + 1 as length
    from named
    inner join returns on returns.start = named.loser and returns.text = named.winner
)

select
    known_pairs.position,
    found.length is null as kept,
    if(found.length is null, null, 'in_cycle') as reason,
    found.length::double as score
from known_pairs
left join found on found.position = known_pairs.position
order by known_pairs.position
