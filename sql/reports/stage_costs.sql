-- How long did every stage of a night take, and what did it ask the engine for?
--
-- in:     stage_usage
-- params: $night
-- out:    one row per stage in the order of their ends (stage, seconds, num_requests, num_from_store,
--         num_request_errors, prompt_tokens, cached_tokens, completion_tokens, engine_seconds, engine)

select
    stage, seconds, num_requests, num_from_store, num_request_errors, prompt_tokens, cached_tokens, completion_tokens,
    engine_seconds, engine
from stage_usage
where night = $night
order by ended_at, stage
