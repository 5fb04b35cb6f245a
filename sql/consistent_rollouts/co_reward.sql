-- Rewards by the majority answer of the paraphrased problem, and the reverse (Co-Reward, arXiv 2508.00410).
--
-- what:   label of a problem's samples = majority answer of its paraphrase's samples, and the other way round;
--         cross_reward = [the answer is the label]
-- in:     paraphrased_rollouts
-- params: none
-- out:    one row per sample (position, cross_label, label_share, cross_reward), by position
-- note:   answers are compared as text, as in the paper's code; of equally frequent ones the first in the input is the
--         label. An empty or missing answer votes for nothing and has reward 0. Without a label there is no reward.

with votes as (
    select
        problem_id,
        is_paraphrase,
        answer,
        count(*) / sum(count(*)) over (partition by problem_id, is_paraphrase) as share,
        row_number() over (partition by problem_id, is_paraphrase order by count(*) desc, min(position)) as place
    from paraphrased_rollouts
    where answer <> ''
    group by problem_id, is_paraphrase, answer
)

select
    paraphrased_rollouts.position,
    votes.answer as cross_label,
    votes.share as label_share,
    if(
        votes.answer is null, null, if(coalesce(paraphrased_rollouts.answer = votes.answer, false), 1.0, 0.0)
    ) as cross_reward
from paraphrased_rollouts
left join votes
    on votes.problem_id = paraphrased_rollouts.problem_id
    and votes.is_paraphrase = not paraphrased_rollouts.is_paraphrase
    and votes.place = 1
order by paraphrased_rollouts.position
