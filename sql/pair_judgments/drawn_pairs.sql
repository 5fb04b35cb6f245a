-- drawn_pairs: pairs of solutions that a judge is asked about, with their steps.
--
-- what:   In preference_pairs a prompt is the statement, a separator and the shared prefix. Pairs of critiques answer
--         another prompt, and those of a shift of the policy compare policies; both are left out.
-- in:     problems, preference_pairs
-- params: $num_pairs, $separator (ends every step)
-- out:    at most $num_pairs pairs: statement, the steps given to both sides, the steps of either; by pair id
-- note:   which ones is decided by a hash of the id, so that they are spread over problems and methods.

select
    preference_pairs.pair_id,
    preference_pairs.problem_id,
    preference_pairs.method,
    problems.prompt as statement,
    list_filter(
        string_split(preference_pairs.prompt[len(problems.prompt) + len($separator) + 1:], $separator),
        lambda step: step <> ''
    ) as given,
    list_filter(string_split(preference_pairs.chosen, $separator), lambda step: step <> '') as chosen,
    list_filter(string_split(preference_pairs.rejected, $separator), lambda step: step <> '') as rejected
from preference_pairs
inner join problems on problems.problem_id = preference_pairs.problem_id
where coalesce(preference_pairs.kind, '') not in ('critique', 'policy_shift')
    and trim(preference_pairs.chosen) <> '' and trim(preference_pairs.rejected) <> ''
qualify row_number() over (order by md5(preference_pairs.pair_id), preference_pairs.pair_id) <= $num_pairs
order by preference_pairs.pair_id
