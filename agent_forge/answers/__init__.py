"""Grading: is the answer in a completion the reference answer?

Only the completion is looked at, never a thought. A grader never raises on a completion, whatever its text.
"""

from agent_forge.answers.number import grade_number
from agent_forge.answers.text import grade_text
from agent_forge.errors import InputError
from agent_forge.records import AnswerKind, Grade


def grade(kind: AnswerKind, completion: str, reference: str) -> Grade:
    """Grade one completion.

    Args:
        kind: how answers of this question are compared.
        completion: what the model wrote.
        reference: the reference answer.

    Raises:
        InputError: for a kind that this version cannot grade.
    """
    if kind == "number":
        return grade_number(completion, reference)
    if kind == "text":
        return grade_text(completion, reference)
    raise InputError(f"answers of kind {kind} cannot be graded by this version; number and text can")
