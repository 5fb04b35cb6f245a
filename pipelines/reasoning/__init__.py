"""Turns a language model into the functions that a search receives: prompts, steps, proposals, values."""
