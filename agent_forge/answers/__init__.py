"""Grading: is the answer in a completion the reference answer?

Only the completion is looked at, never a thought. A grader never raises on a completion, whatever its text.
"""

from agent_forge.answers.grading import grade, reference_problem, require_grader

__all__ = ["grade", "reference_problem", "require_grader"]
