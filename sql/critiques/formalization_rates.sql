-- How well a critic tells right formal statements from wrong ones (the numbers of CriticLeanBench).
--
-- what:   accuracy; tpr = right statements called correct / right statements; fnr = 1 - tpr; tnr = wrong statements
--         called incorrect / wrong statements; fpr = 1 - tnr.
-- in:     judgments
-- params:
-- out:    one row: num_judged, num_unreadable, accuracy, tpr, fpr, tnr, fnr
-- note:   rows without a label take no part; answers that could not be read are counted and have no part in a rate. A
--         rate of nothing is null.

with labelled as (
    select label = 'correct' as is_right, verdict = label as is_true
    from judgments
    where label in ('correct', 'incorrect') and verdict in ('correct', 'incorrect')
),

rates as (
    select
        count(*) as num_judged,
        avg(is_true::double) as accuracy,
        avg(is_true::double) filter (where is_right) as tpr,
        avg(is_true::double) filter (where not is_right) as tnr
    from labelled
),

unread as (
    select count(*) as num_unreadable
    from judgments
    where label in ('correct', 'incorrect') and coalesce(verdict not in ('correct', 'incorrect'), true)
)

select num_judged, num_unreadable, accuracy, tpr, 1 - tnr as fpr, tnr, 1 - tpr as fnr
from rates, unread
