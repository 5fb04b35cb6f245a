"""Finished trees seen from outside: drawn for people (view, page), and read from other projects' files (files)."""
