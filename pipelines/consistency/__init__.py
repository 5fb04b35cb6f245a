"""Consistency filters: do a rollout's step scores agree with its outcome? One file per family, pure functions."""
