"""One task's questions, and the checks that every source makes on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import ValidationError

from agent_forge.answers import reference_problem
from agent_forge.errors import QuestionError
from agent_forge.questions.normalise import question_id
from agent_forge.questions.on_disk import stored
from agent_forge.records import AnswerKind, Question, first_problem

Part = Literal["train", "test", "any"]
Row = Mapping[str, object]


@dataclass(frozen=True)
class TaskQuestions:
    """One task's questions by published part, and where they came from.

    Attributes:
        task: its name; every question carries it.
        parts: what `train` holds is only ever baked from, `test` only ever judged on, `any` is split.
        source: files or repositories.
        names: what the parts are called where they were published, such as `validation` for `test`.
        shares_wording: whether its questions have long passages in common that say nothing about their answers.
        worked: by question id, answers as the data set works them out, where it does.
    """

    task: str
    parts: Mapping[Part, Sequence[Question]]
    source: str
    names: Mapping[Part, str] = field(default_factory=dict)
    shares_wording: bool = False
    worked: Mapping[str, str] = field(default_factory=dict)

    def renamed(self, task: str) -> "TaskQuestions":
        """Return the same questions as another task."""
        parts = {
            part: stored(question.model_copy(update={"task": task}) for question in questions)
            for part, questions in self.parts.items()
        }
        return replace(self, task=task, parts=parts)


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
    """Return a question whose id is made of its prompt; see `checked`.

    Raises:
        QuestionError: for a text that is no Unicode, or a reference that no completion could match.
    """
    try:
        question = Question(id=question_id(prompt), prompt=prompt, reference=reference, kind=kind, task=task)
    except ValidationError as cause:
        raise QuestionError(f"{where}: not a question: {first_problem(cause)}") from cause
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
