"""Closed-loop tests of critics: solutions to criticise, and how many of them end right after correction."""
