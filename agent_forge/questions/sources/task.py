"""One task's questions, and the checks that every source makes on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agent_forge.answers import reference_problem
from agent_forge.errors import QuestionError
from agent_forge.questions.normalise import question_id
from agent_forge.records import AnswerKind, Question

Part = Literal["train", "test", "any"]
Row = Mapping[str, object]


@dataclass(frozen=True)
class TaskQuestions:
    """One task's questions by published part, and where they came from."""

    task: str
    parts: Mapping[Part, tuple[Question, ...]]
    source: str


def text_field(row: Row, name: str, where: str) -> str:
    """Return a field that must hold a text.

    Args:
        row: one row of a data set.
        name: the field.
        where: file and line, named in errors.

    Raises:
        QuestionError: when the field is missing, no text, or blank.
    """
    if name not in row:
        raise QuestionError(f"{where}: no field {name}; found {', '.join(map(str, row)) or 'an empty object'}")
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise QuestionError(f"{where}: {name} is {value!r}; a text is expected"[:500])
    return value


def published_question(prompt: str, reference: str, kind: AnswerKind, task: str, where: str) -> Question:
    """Return a question whose id is made of its prompt; see `checked`."""
    question = Question(id=question_id(prompt), prompt=prompt, reference=reference, kind=kind, task=task)
    return checked(question, where)


def checked(question: Question, where: str) -> Question:
    """Return the question.

    Raises:
        QuestionError: when no completion could ever match its reference.
    """
    problem = reference_problem(question.kind, question.reference, question.prompt)
    if problem is not None:
        raise QuestionError(f"{where}: {problem}; a reference that the {question.kind} grader can read is expected")
    return question
