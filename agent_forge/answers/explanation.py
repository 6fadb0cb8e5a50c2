"""Why a grade is what it is: where in the completion the answer was looked for, with that place's own words.

Read with the graders' own functions, after the grade is made; it never changes one.
"""

from typing import Literal

from agent_forge.answers.asides import without_thoughts
from agent_forge.answers.characters import encodable
from agent_forge.answers.marks import Mark, Style, find_marks
from agent_forge.answers.quantity import clean
from agent_forge.answers.repeats import without_question
from agent_forge.records import AnswerKind, Grade, Record

Place = Literal[Style, "end", "whole text", "program", "nothing"]
LONGEST_EXCERPT = 160


class Explanation(Record):
    """Where an answer was looked for, and how it compares.

    Attributes:
        place: the mark that decides: hash, box, tag or cue; `end` or `whole text` without a mark; `program` for code;
            `nothing` when the completion says nothing beside thoughts and the question's own words.
        excerpt: the text there, shortened in the middle.
        marks: how many marks the completion has; several must agree.
        reference: what was expected, shortened.
        why: in one sentence.
    """

    place: Place
    excerpt: str
    marks: int
    reference: str
    why: str


def explain(kind: AnswerKind, completion: str, reference: str, prompt: str, grade: Grade) -> Explanation:
    """Say what a grade was read from.

    Args:
        kind: how answers of this question are compared.
        completion: what the model wrote.
        reference: the reference answer.
        prompt: the question; its copies are not read.
        grade: what the grader said.
    """
    place, excerpt, marks = _read(kind, encodable(completion), prompt, grade)
    why = _why(place, reference, grade)
    return Explanation(place=place, excerpt=_short(excerpt), marks=marks, reference=_short(reference), why=why)


def _read(kind: AnswerKind, completion: str, prompt: str, grade: Grade) -> tuple[Place, str, int]:
    if kind == "code":
        return "program", grade.extracted or "", 0
    said = without_question(without_thoughts(completion), prompt)
    text = clean(said) if kind == "number" else said
    marks = find_marks(text)
    if not text.strip():
        return "nothing", completion, 0
    if not marks:
        return ("end" if kind in ("number", "math") else "whole text"), text.strip(), 0
    mark = _deciding(kind, marks)
    return mark.style, text[mark.start : mark.end], len(marks)


def _deciding(kind: AnswerKind, marks: list[Mark]) -> Mark:
    """Return the last mark that the kind's grader reads: choices and texts read no cue beside a formal mark."""
    formal = [mark for mark in marks if mark.formal]
    return formal[-1] if formal and kind in ("choice", "text") else marks[-1]


def _why(place: Place, reference: str, grade: Grade) -> str:
    if place == "nothing":
        return "the completion says nothing beside thoughts and the question's own words"
    if place == "program":
        return "the program passes the tests" if grade.correct else f"not accepted: {grade.reason}"
    if grade.correct:
        return f"{grade.extracted!r} equals the reference {_short(reference)!r}"
    if grade.extracted is None:
        return f"no answer was extracted: {grade.reason}"
    return f"{grade.extracted!r} was extracted and is refused: {grade.reason}"


def _short(text: str) -> str:
    half = LONGEST_EXCERPT // 2
    return text if len(text) <= LONGEST_EXCERPT else f"{text[:half]} ... {text[-half:]}"
