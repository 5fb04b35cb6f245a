-- Pairs with what the lake knows of their sides.
--
-- what:   chosen_scores and rejected_scores: what every critic and agent thinks of both rollouts, one number each, in one
--         order: the mean step score of a scorer, or of each member of a critic that is an ensemble, the share of
--         steps that an agent's critique calls right.
--         chosen_logprobs and rejected_logprobs: log-probabilities of the tokens under the model that wrote the rollout.
-- in:     mined_pairs, step_scores, critiques, token_scores, rollouts
-- params: none
-- out:    known_pairs, one row per pair, by position
-- note:   only sides that are rollouts are known; the lists of others are null. Monte Carlo scores hold the outcome and
--         are left out. An ensemble's members stand in the place of its pooled score. A member that has not judged both sides has no number for the pair.

with scored_steps as (
    select
        rollout_id,
        concat(source, '/', scorer_version) as scorer,
        score,
        if(len(member_scores) > 0, range(1, len(member_scores) + 1), [null::bigint]) as members,
        member_scores
    from step_scores
    where source <> 'monte_carlo' and score is not null
),

opinions as (
    select rollout_id, scorer, score, member_scores, unnest(members) as member
    from scored_steps
),

scores as (
    select
        rollout_id,
        if(member is null, scorer, format('{}/member-{:03d}', scorer, member)) as scorer,
        avg(if(member is null, score, member_scores[member])) as score
    from opinions
    group by all
    union all
    select
        rollout_id,
        concat('agent/', agent),
        avg(len(list_filter(step_verdicts, lambda verdict: verdict = 'right')) / len(step_verdicts))
    from critiques
    where error is null and len(step_verdicts) > 0
    group by rollout_id, agent
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
    select scored.rollout_id, any_value(scored.token_logprobs) as token_logprobs
    from token_scores as scored
    inner join rollouts on rollouts.rollout_id = scored.rollout_id and rollouts.policy_id = scored.model_id
    where scored.error is null
    group by scored.rollout_id
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
