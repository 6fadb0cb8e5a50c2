"""A user's own questions: JSON lines, one question a line.

    {"prompt": "What is 2 + 2?", "reference": "4", "kind": "number"}

`kind` is `number`, `math`, `choice` or `text`. `id` may be given; without it, it is made of the prompt. `task` may be
given, the same in every row; without it, it is the file's name.
"""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from agent_forge.errors import QuestionError
from agent_forge.questions.normalise import question_id
from agent_forge.questions.sources.lines import json_lines
from agent_forge.questions.sources.task import Row, TaskQuestions, checked
from agent_forge.records import Question, first_problem


def load_file(path: Path) -> TaskQuestions:
    """Load a file of questions.

    Raises:
        QuestionError: naming file and line, when one is no question or has the id of another.
    """
    questions = tuple(read_questions(path))
    tasks = {question.task for question in questions}
    task = tasks.pop() if len(tasks) == 1 else path.stem
    return TaskQuestions(task, {"any": questions}, str(path))


def read_questions(path: Path) -> Iterator[Question]:
    """Yield the questions of a file one by one; raises like `load_file`."""
    lines: dict[str, str] = {}
    for where, row in json_lines(path):
        question = _question(row, path.stem, where)
        line = where.rpartition(":")[2]
        if (first := lines.setdefault(question.id, line)) != line:
            raise QuestionError(
                f"{where}: question id {question.id} occurs twice, first in {path}:{first}; ids must be unique"
            )
        yield question


def read_prompts(path: Path) -> Iterator[str]:
    """Yield the prompts of a file whose questions have been read before, and found good."""
    return (str(row["prompt"]) for _, row in json_lines(path))


def _question(row: Row, task: str, where: str) -> Question:
    prompt = row.get("prompt")
    # Without a prompt it is the prompt that the error must name.
    made = question_id(prompt) if isinstance(prompt, str) else "none"
    try:
        question = Question.model_validate({"task": task, "id": made, **row})
    except ValidationError as cause:
        raise QuestionError(f"{where}: not a question: {first_problem(cause)}") from cause
    return checked(question, where)
