-- A tactic on a found proof against tactics that failed at the same goals.
--
-- what:   Within a theorem and a state every tactic on a proof meets every one whose result is `error`; with
--         $against_detours also those that led to another state which is on no found proof.
--         chosen_score = 1 (a proof goes on here), rejected_score = 0 for an error, null for a detour: nobody knows.
-- in:     tactics
-- params: $against_detours
-- out:    pair_candidates, one row per pair of tactics
-- note:   errors come first where a theorem has more pairs than the limit. `timeout` and `crash` are censored and
--         `given_up` is no failure of the tactic: none of them is rejected. A text that is on a proof anywhere at these
--         goals is never rejected there.

with tried as (
    select
        *,
        coalesce(is_on_proof, false) and result in ('state', 'finished') as is_chosen,
        not coalesce(is_on_proof, false)
            and (result = 'error' or ($against_detours and result = 'state')) as is_rejected
    from tactics
    where state is not null
),

separated as (
    select
        *,
        bool_or(is_chosen) over (partition by problem_id, state, tactic) as is_proof_text
    from tried
)

select
    chosen.problem_id,
    chosen.state as prompt,
    chosen.tactic as chosen,
    rejected.tactic as rejected,
    1.0::double as chosen_score,
    if(rejected.result = 'error', 0.0, null)::double as rejected_score,
    null::double as soft_label,
    1.0::double as weight,
    chosen.policy as chosen_policy,
    rejected.policy as rejected_policy,
    chosen.tactic_id as chosen_id,
    rejected.tactic_id as rejected_id,
    if(rejected.result = 'error', 1, 2)::bigint as place,
    concat(chosen.tactic_id, chr(1), rejected.tactic_id) as tie
from separated as chosen
inner join separated as rejected
    on chosen.problem_id = rejected.problem_id
    and chosen.state = rejected.state
    and chosen.is_chosen
    and rejected.is_rejected
    and not rejected.is_proof_text
