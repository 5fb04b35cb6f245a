-- pair_results: every pair that a miner made, with what became of it.
--
-- in:     all_pairs (as they were mined), mined_pairs (those that are left), pair_removals
-- params: $night
-- out:    one row per mined pair; a kept one has the id of its row in preference_pairs, with sides turned round as there
-- note:   a pair that another method of its kind had found before, or that a filter turned into one that is there, is a
--         `duplicate` by `distinct`. What a miner leaves out itself (equal sides, beyond its limit per problem) was
--         never a pair.

select
    left(
        sha256(concat_ws(
            chr(31), mined.kind, $night, mined.problem_id, mined.prompt,
            coalesce(kept.chosen, mined.chosen), coalesce(kept.rejected, mined.rejected)
        )),
        20
    ) as pair_id,
    mined.problem_id,
    mined.kind,
    mined.method,
    coalesce(kept.chosen_id, mined.chosen_id) as chosen_id,
    coalesce(kept.rejected_id, mined.rejected_id) as rejected_id,
    coalesce(kept.margin, mined.margin) as margin,
    kept.position is not null as kept,
    removal.filter,
    removal.reason,
    removal.score,
    $night::varchar as night
from all_pairs as mined
left join mined_pairs as kept on kept.position = mined.position
left join pair_removals as removal on removal.position = mined.position and kept.position is null
order by mined.position
