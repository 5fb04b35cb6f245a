"""Preference pairs, one small file per family of published methods; the queries stand in `sql/preference_pairs/`."""
