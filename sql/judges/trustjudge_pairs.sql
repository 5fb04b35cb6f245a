-- Verdicts on pairs from a judge that was asked in both orders (TrustJudge, likelihood and perplexity aggregation).
--
-- what:   likelihood: the probabilities of the three labels are averaged over both orders, those of the swapped order
--         turned round, and the largest wins:  p_x = (p_x + p'_x turned) / 2,  winner = argmax;  tie where the two
--         largest differ by less than $min_difference, or not at all.
--         perplexity: ppl = exp(-mean log-probability of the judge's whole answer); the verdict of the order with the
--         lower one counts;  tie where they differ by less than $min_difference, or not at all, unless both orders agree.
-- in:     judged_pairs
-- params: $by_perplexity, $min_difference
-- out:    one row per pair (position, aggregated_verdict, mean_p_first, mean_p_second, mean_p_tie, perplexity,
--         perplexity_swapped, reason), by position
-- note:   `first` and `second` mean the row's own items, whichever was shown first. A label that is null was not among
--         the judge's likeliest tokens and counts as 0; an order without any label, or with a number that is no
--         probability, gives no verdict but a reason. Differences are rounded to twelve digits.

with parts as (
    select
        position,
        [p_first, p_second, p_tie] as given,
        [p_first_swapped, p_second_swapped, p_tie_swapped] as swapped,
        verdict as own_verdict,
        case verdict_swapped when 'first' then 'second' when 'second' then 'first' else verdict_swapped end
            as turned_verdict,
        if(len(logprobs) = 0 or len(list_filter(logprobs, lambda x: x is null or isnan(x) or x > 0)) > 0,
            null, exp(-list_avg(logprobs))) as perplexity,
        if(len(logprobs_swapped) = 0
            or len(list_filter(logprobs_swapped, lambda x: x is null or isnan(x) or x > 0)) > 0,
            null, exp(-list_avg(logprobs_swapped))) as perplexity_swapped
    from judged_pairs
),

reasons as (
    select
        *,
        case
            when $by_perplexity and (perplexity is null or perplexity_swapped is null) then 'no_log_probabilities'
            when $by_perplexity and (
                coalesce(own_verdict, '') not in ('first', 'second', 'tie')
                or coalesce(turned_verdict, '') not in ('first', 'second', 'tie')
            ) then 'no_verdict'
            when not $by_perplexity and (
                len(list_filter(given, lambda x: x is not null)) = 0
                or len(list_filter(swapped, lambda x: x is not null)) = 0
            ) then 'no_label_probabilities'
            when not $by_perplexity and (
                len(list_filter(list_concat(given, swapped), lambda x: not (x >= 0 and x <= 1))) > 0
                or list_sum(given) > 1.000001
                or list_sum(swapped) > 1.000001
            ) then 'not_probabilities'
        end as reason
    from parts
),

averaged as (
    select
        *,
        if($by_perplexity or reason is not null, null, (coalesce(given[1], 0) + coalesce(swapped[2], 0)) / 2)
            as p_first,
        if($by_perplexity or reason is not null, null, (coalesce(given[2], 0) + coalesce(swapped[1], 0)) / 2)
            as p_second,
        if($by_perplexity or reason is not null, null, (coalesce(given[3], 0) + coalesce(swapped[3], 0)) / 2)
            as p_tie
    from reasons
),

ranked as (
    select
        *,
        list_reverse_sort([p_first, p_second, p_tie]) as largest,
        round(abs(perplexity - perplexity_swapped), 12) as perplexity_gap
    from averaged
)

select
    position,
    case
        when reason is not null then null
        when $by_perplexity and own_verdict = turned_verdict then own_verdict
        when $by_perplexity and (perplexity_gap = 0 or perplexity_gap < $min_difference) then 'tie'
        when $by_perplexity then if(perplexity < perplexity_swapped, own_verdict, turned_verdict)
        when round(largest[1] - largest[2], 12) = 0 or round(largest[1] - largest[2], 12) < $min_difference then 'tie'
        when p_first = largest[1] then 'first'
        when p_second = largest[1] then 'second'
        else 'tie'
    end as aggregated_verdict,
    p_first as mean_p_first,
    p_second as mean_p_second,
    p_tie as mean_p_tie,
    perplexity,
    perplexity_swapped,
    reason
from ranked
order by position
