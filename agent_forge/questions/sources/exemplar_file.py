"""A user's own exemplars: JSON lines in the form of questions, each with the answer to show.

    {"prompt": "What is 2 + 2?", "reference": "4", "kind": "number", "answer": "2 and 2 make 4. #### 4"}

Without `answer` it is the reference. `task` says which task a row is for; it may be left out where there is only one.
"""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from agent_forge.errors import QuestionError
from agent_forge.questions.exemplars import exemplar_answer, is_right
from agent_forge.questions.normalise import question_id
from agent_forge.questions.sources.rows import file_rows
from agent_forge.questions.sources.task import Row, checked
from agent_forge.records import Exemplar, first_problem


def read_exemplars(path: Path, task: str, bare: bool = False) -> tuple[Exemplar, ...]:
    """Read a file of exemplars.

    Args:
        path: the file.
        task: of rows that name none.
        bare: whether only references are shown.

    Raises:
        QuestionError: naming file and line, when one is no exemplar, is there twice, or its answer is not right.
    """
    exemplars = tuple(_read(path, task, bare))
    seen: set[str] = set()
    for exemplar in exemplars:
        if exemplar.id in seen:
            raise QuestionError(f"{path}: exemplar {exemplar.id} is there twice; leave one of them out")
        seen.add(exemplar.id)
    return exemplars


def _read(path: Path, task: str, bare: bool) -> Iterator[Exemplar]:
    for where, row in file_rows(path):
        exemplar = _exemplar(row, task, bare, where)
        checked(exemplar, where)
        # Answers by code are refused later, by the task, and would have to be run here.
        if exemplar.kind != "code" and not is_right(exemplar):
            raise QuestionError(
                f"{where}: the answer {exemplar.answer[-80:]!r} is not read as {exemplar.reference[:80]!r}; "
                "end it with the reference, in a form that is counted"
            )
        yield exemplar


def _exemplar(row: Row, task: str, bare: bool, where: str) -> Exemplar:
    prompt, answer = row.get("prompt"), row.get("reference") if bare else row.get("answer", row.get("reference"))
    made = question_id(prompt) if isinstance(prompt, str) else "none"
    shown = exemplar_answer(answer) if isinstance(answer, str) else answer
    try:
        return Exemplar.model_validate({"task": task, "id": made, **row, "answer": shown})
    except ValidationError as cause:
        raise QuestionError(f"{where}: not an exemplar: {first_problem(cause)}") from cause
