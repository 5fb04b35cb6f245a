-- Pairs with what the lake knows of their sides.
--
-- what:   chosen_scores and rejected_scores: mean step score by every scorer that scored both rollouts, one number per
--         scorer, in one order. chosen_logprobs and rejected_logprobs: log-probabilities of the tokens under $strong_model.
-- in:     mined_pairs, step_scores, token_scores
-- params: $strong_model
-- out:    known_pairs, one row per pair, by position
-- note:   only sides that are rollouts are known; the lists of others are null.

with scores as (
    select rollout_id, concat(source, '/', scorer_version) as scorer, avg(score) as score
    from step_scores
    where source <> 'monte_carlo' and score is not null
    group by rollout_id, scorer
),

votes as (
    select
        pair.position,
        list(chosen.score order by chosen.scorer) as chosen_scores,
        list(rejected.score order by chosen.scorer) as rejected_scores
    from mined_pairs as pair
    inner join scores as chosen on chosen.rollout_id = pair.chosen_id
    inner join scores as rejected on rejected.rollout_id = pair.rejected_id and rejected.scorer = chosen.scorer
    group by pair.position
),

likelihoods as (
    select rollout_id, any_value(token_logprobs) as token_logprobs
    from token_scores
    where model_id = $strong_model and error is null
    group by rollout_id
)

select
    pair.*,
    votes.chosen_scores,
    votes.rejected_scores,
    chosen.token_logprobs as chosen_logprobs,
    rejected.token_logprobs as rejected_logprobs,
    null::double[] as chosen_square_logprobs,
    null::double[] as rejected_square_logprobs,
    null::double[] as strengths,
    null::bigint as iteration
from mined_pairs as pair
left join votes on votes.position = pair.position
left join likelihoods as chosen on chosen.rollout_id = pair.chosen_id
left join likelihoods as rejected on rejected.rollout_id = pair.rejected_id
order by pair.position
