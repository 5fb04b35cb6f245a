-- Answers whose score is the log density ratio of two models (CDR, arXiv 2411.02481).
--
-- what:   score = log pi_strong(y | x) - log pi_weak(y | x), summed over the answer's tokens.
-- in:     responses
-- params: none
-- out:    responses, one row per answer
-- note:   both models must read the same tokens. An answer that one of them did not score has no score.

select * replace (strong_logprob - weak_logprob as score)
from responses
