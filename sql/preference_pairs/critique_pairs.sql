-- Critiques of one answer against each other, validated by what refinements they lead to (MARV of MultiCritique).
--
-- what:   Of two critiques of one answer the one of higher quality is chosen; the pair is kept where the mean score of its
--         refinements is higher too. Where one of the two has no quality, the refinements alone decide.
-- in:     critique_outcomes
-- params: $min_refinements (of both critiques)
-- out:    pair_candidates
-- note:   scores are the means of the refinements. Critiques without refinements and equal means give no pair.

with scored as (
    select
        * replace (if(isfinite(quality), quality, null) as quality),
        list_avg(list_filter(refinement_scores, lambda score: isfinite(score))) as mean_score,
        len(list_filter(refinement_scores, lambda score: isfinite(score))) as num_refinements
    from critique_outcomes
    where critique is not null
)

select
    chosen.problem_id,
    chosen.prompt,
    chosen.critique as chosen,
    rejected.critique as rejected,
    chosen.mean_score as chosen_score,
    rejected.mean_score as rejected_score,
    null::double as soft_label,
    1.0::double as weight,
    chosen.policy as chosen_policy,
    rejected.policy as rejected_policy,
    chosen.critique_id as chosen_id,
    rejected.critique_id as rejected_id,
    1::bigint as place,
    concat(chosen.critique_id, chr(1), rejected.critique_id) as tie
from scored as chosen
inner join scored as rejected
    on rejected.rollout_id = chosen.rollout_id
    and chosen.critique_id <> rejected.critique_id
    and chosen.mean_score > rejected.mean_score
    and coalesce(chosen.quality > rejected.quality, true)
    and least(chosen.num_refinements, rejected.num_refinements) >= $min_refinements
