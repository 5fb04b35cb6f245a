-- What is compared of two versions' prompts.
--
-- in:  prompts
-- out: one row per row; lengths in characters

select len(prompt) as prompt_length, family, difficulty from prompts
