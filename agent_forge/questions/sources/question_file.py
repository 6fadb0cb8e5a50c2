"""A user's own questions: JSON lines, one question a line.

    {"prompt": "What is 2 + 2?", "reference": "4", "kind": "number"}

`kind` is `number`, `math`, `choice`, `text` or `code`, whose reference `answers.code` describes. `id` may be given;
without it, it is made of the prompt. `task` may be given, the same in every row; without it, it is the file's name.
"""

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
    questions: dict[str, Question] = {}
    places: dict[str, str] = {}
    for where, row in json_lines(path):
        question = _question(row, path.stem, where)
        if question.id in places:
            raise QuestionError(
                f"{where}: question id {question.id} occurs twice, first in {places[question.id]}; ids must be unique"
            )
        questions[question.id], places[question.id] = question, where
    tasks = {question.task for question in questions.values()}
    task = tasks.pop() if len(tasks) == 1 else path.stem
    return TaskQuestions(task, {"any": tuple(questions.values())}, str(path))


def _question(row: Row, task: str, where: str) -> Question:
    prompt = row.get("prompt")
    # Without a prompt it is the prompt that the error must name.
    made = question_id(prompt) if isinstance(prompt, str) else "none"
    try:
        question = Question.model_validate({"task": task, "id": made, **row})
    except ValidationError as cause:
        raise QuestionError(f"{where}: not a question: {first_problem(cause)}") from cause
    return checked(question, where)
