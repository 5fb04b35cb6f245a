"""Grading: extract a final answer from text and decide whether it is right.

`grade` returns 1.0 (right), 0.0 (wrong; no answer is wrong too) or None (cannot be decided, never a zero).
"""

from pipelines.grading.answer import extract_answer
from pipelines.grading.registry import GRADERS, GradeFn, grade, graders_of

__all__ = ["GRADERS", "GradeFn", "extract_answer", "grade", "graders_of"]
