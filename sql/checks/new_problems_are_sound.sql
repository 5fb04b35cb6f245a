-- New problems that must not be trained on, and rows whose source is no training problem.
--
-- in:  new_problems, problems
-- out: offending rows (table_name, row_id, night, what), one per row
-- note: kept = it will be a training problem: it has a statement and an answer, and no held-out or evaluation problem has
--       its canonical form, whatever the family.

with closed as (
    select distinct canonical from problems where split <> 'train' or is_evaluation
)

select
    'new_problems' as table_name,
    made.candidate_id as row_id,
    made.night,
    case
        when sources.problem_id is null then 'source ' || coalesce(made.source_problem_id, 'null') || ' does not exist'
        when sources.split <> 'train' or sources.is_evaluation
            then 'source ' || made.source_problem_id || ' is held out'
        when made.kept is distinct from (made.reason is null) then 'kept ' || made.kept || ' beside reason '
            || coalesce(made.reason, 'null')
        when made.kept and made.prompt is null then 'kept without a statement'
        when made.kept and made.reference_answer is null then 'kept without an answer'
        when made.kept and closed.canonical is not null then 'kept, but held out: ' || made.canonical
    end as what
from new_problems as made
left join problems as sources on sources.problem_id = made.source_problem_id
left join closed on closed.canonical = made.canonical
where what is not null
order by row_id, night
