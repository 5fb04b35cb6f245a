-- A good answer against every clearly worse one by a judge's scores (DNO-Prct, arXiv 2404.03715).
--
-- what:   A positive has at least $min_positive points. Every answer at least $min_gap points lower is a negative of it;
--         where the positive is the student's own, $min_gap_of_student points are enough. An answer of the student more of
--         whose n-grams are repeated than $max_repeated is a negative of every positive, whatever its score, and no
--         positive.
-- in:     responses
-- params: $min_positive, $min_gap, $min_gap_of_student, $max_repeated, $num_ngram_words
-- out:    pair_candidates
-- note:   every such pair is kept: teacher over student, student over teacher, student over student. A repeating answer
--         counts with 0 points.

with words as (
    select
        *,
        concat_ws(chr(31), problem_id, group_id) as group_key,
        coalesce(is_teacher, false) as is_teachers,
        string_split_regex(trim(response), '\s+') as tokens
    from responses
    where isfinite(score) and response is not null
),

ngrams as (
    select
        *,
        list_transform(
            range(1, len(tokens) - $num_ngram_words + 2),
            lambda first: array_to_string(tokens[first : first + $num_ngram_words - 1], ' ')
        ) as grams
    from words
),

rated as (
    select
        *,
        not is_teachers and len(grams) > 0 and 1.0 - len(list_distinct(grams)) / len(grams) > $max_repeated as is_repeating
    from ngrams
)

select
    positive.problem_id,
    positive.prompt,
    positive.response as chosen,
    negative.response as rejected,
    positive.score as chosen_score,
    if(negative.is_repeating, 0.0, negative.score) as rejected_score,
    null::double as soft_label,
    1.0::double as weight,
    positive.policy as chosen_policy,
    negative.policy as rejected_policy,
    positive.response_id as chosen_id,
    negative.response_id as rejected_id,
    1::bigint as place,
    concat(positive.response_id, chr(1), negative.response_id) as tie
from rated as positive
inner join rated as negative
    on negative.group_key = positive.group_key
    and negative.response <> positive.response
    and positive.score >= $min_positive
    and not positive.is_repeating
    and (
        negative.is_repeating
        or positive.score - negative.score >= if(positive.is_teachers, $min_gap, $min_gap_of_student)
    )
