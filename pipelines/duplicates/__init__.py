"""Texts that are there twice: exact, near and semantic duplicates."""
