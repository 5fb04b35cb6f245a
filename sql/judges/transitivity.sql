-- Subsets of three to five answers in which a judge's verdicts on the pairs contradict one another (TrustJudge).
--
-- what:   the relation of two answers is the verdict that all their rows share (either order, turned round), else a tie.
--         Every triple i < j < k is looked up in a table of its three relations: 13 of the 27 rows come from some
--         order with ties; 2 are circles (a > b > c > a); 12 break an equality, as a = b = c but a > c.
--         A subset is bad when at least one of its triples is.
-- in:     judge_comparisons
-- params: $max_subset (3 | 4 | 5)
-- out:    one row per (judge, question_id, subset_size): subsets whose pairs were all judged, and how many hold a
--         circle, a broken equality, either
-- note:   a pair with a verdict that is not first, second or tie was not judged. Triples with one equality sign that
--         close the other way round (a > b = c but c > a) count as broken equalities.

with laws(ij, jk, ik, kind) as (
    values
        ('>', '>', '>', 'ordered'), ('>', '>', '=', 'equal'), ('>', '>', '<', 'circle'),
        ('>', '=', '>', 'ordered'), ('>', '=', '=', 'equal'), ('>', '=', '<', 'equal'),
        ('>', '<', '>', 'ordered'), ('>', '<', '=', 'ordered'), ('>', '<', '<', 'ordered'),
        ('=', '>', '>', 'ordered'), ('=', '>', '=', 'equal'), ('=', '>', '<', 'equal'),
        ('=', '=', '>', 'equal'), ('=', '=', '=', 'ordered'), ('=', '=', '<', 'equal'),
        ('=', '<', '>', 'equal'), ('=', '<', '=', 'equal'), ('=', '<', '<', 'ordered'),
        ('<', '>', '>', 'ordered'), ('<', '>', '=', 'ordered'), ('<', '>', '<', 'ordered'),
        ('<', '=', '>', 'equal'), ('<', '=', '=', 'equal'), ('<', '=', '<', 'ordered'),
        ('<', '<', '>', 'circle'), ('<', '<', '=', 'equal'), ('<', '<', '<', 'ordered')
),

groups as (
    select *, dense_rank() over (order by judge, question_id) as group_number
    from judge_comparisons
    where verdict in ('first', 'second', 'tie') and first_id != second_id
),

items as (
    select group_number, item, row_number() over (partition by group_number order by item) as place
    from (
        select group_number, first_id as item from groups
        union
        select group_number, second_id as item from groups
    )
),

relations as (
    select
        group_number,
        least(one.place, other.place) as i,
        greatest(one.place, other.place) as j,
        case
            when verdict = 'tie' then '='
            when (verdict = 'first') = (one.place < other.place) then '>'
            else '<'
        end as relation
    from groups
    join items as one using (group_number)
    join items as other using (group_number)
    where one.item = first_id and other.item = second_id
),

pairs as (
    select group_number, i, j, if(min(relation) = max(relation), min(relation), '=') as relation
    from relations
    group by group_number, i, j
),

triples as (
    select
        ij.group_number,
        ij.i,
        ij.j,
        jk.j as k,
        laws.kind = 'circle' as is_circle,
        laws.kind = 'equal' as is_equal
    from pairs as ij
    join pairs as jk on jk.group_number = ij.group_number and jk.i = ij.j
    join pairs as ik on ik.group_number = ij.group_number and ik.i = ij.i and ik.j = jk.j
    join laws on laws.ij = ij.relation and laws.jk = jk.relation and laws.ik = ik.relation
),

fours as (
    select
        ijk.group_number,
        ijk.i,
        ijk.j,
        ijk.k,
        ijl.k as l,
        ijk.is_circle or ijl.is_circle or ikl.is_circle or jkl.is_circle as is_circle,
        ijk.is_equal or ijl.is_equal or ikl.is_equal or jkl.is_equal as is_equal
    from triples as ijk
    join triples as ijl
        on ijl.group_number = ijk.group_number and ijl.i = ijk.i and ijl.j = ijk.j and ijl.k > ijk.k
    join triples as ikl
        on ikl.group_number = ijk.group_number and ikl.i = ijk.i and ikl.j = ijk.k and ikl.k = ijl.k
    join triples as jkl
        on jkl.group_number = ijk.group_number and jkl.i = ijk.j and jkl.j = ijk.k and jkl.k = ijl.k
    where $max_subset >= 4
),

fives as (
    select
        ijkl.group_number,
        ijkl.is_circle or ijkm.is_circle or ilm.is_circle or jlm.is_circle or klm.is_circle as is_circle,
        ijkl.is_equal or ijkm.is_equal or ilm.is_equal or jlm.is_equal or klm.is_equal as is_equal
    from fours as ijkl
    join fours as ijkm
        on ijkm.group_number = ijkl.group_number
        and ijkm.i = ijkl.i
        and ijkm.j = ijkl.j
        and ijkm.k = ijkl.k
        and ijkm.l > ijkl.l
    join triples as ilm
        on ilm.group_number = ijkl.group_number and ilm.i = ijkl.i and ilm.j = ijkl.l and ilm.k = ijkm.l
    join triples as jlm
        on jlm.group_number = ijkl.group_number and jlm.i = ijkl.j and jlm.j = ijkl.l and jlm.k = ijkm.l
    join triples as klm
        on klm.group_number = ijkl.group_number and klm.i = ijkl.k and klm.j = ijkl.l and klm.k = ijkm.l
    where $max_subset >= 5
),

subsets as (
    select group_number, 3 as subset_size, is_circle, is_equal from triples
    union all
    select group_number, 4 as subset_size, is_circle, is_equal from fours
    union all
    select group_number, 5 as subset_size, is_circle, is_equal from fives
),

counted as (
    select
        group_number,
        subset_size,
        count(*) as num_subsets,
        count(*) filter (where is_circle) as num_circle,
        count(*) filter (where is_equal) as num_equal,
        count(*) filter (where is_circle or is_equal) as num_bad
    from subsets
    group by group_number, subset_size
),

names as (
    select distinct group_number, judge, question_id
    from groups
)

select
    names.judge,
    names.question_id,
    counted.subset_size,
    counted.num_subsets,
    counted.num_circle,
    counted.num_equal,
    counted.num_bad
from counted
join names on names.group_number = counted.group_number
order by names.judge nulls first, names.question_id, counted.subset_size
