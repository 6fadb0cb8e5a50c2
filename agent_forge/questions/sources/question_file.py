"""A user's own questions: JSON lines, one question a line; or a JSON list, or parquet with the same fields.

    {"prompt": "What is 2 + 2?", "reference": "4", "kind": "number"}

`kind` is `number`, `math`, `choice`, `text` or `code`, whose reference `answers.code` describes. `id` may be given;
without it, it is made of the prompt. `task` may be given, the same in every row; without it, it is the file's name.

A file is split into all three splits, with one exception: questions of a published data set, as this package writes
them, in a file called `test`, `validation`, `dev`, `gate` or `verify` are only judged on.
"""

from array import array
from collections.abc import Collection, Iterator
from pathlib import Path

from pydantic import ValidationError

from agent_forge.errors import QuestionError
from agent_forge.numbered import Numbered
from agent_forge.questions.normalise import question_id
from agent_forge.questions.on_disk import stored
from agent_forge.questions.sources.rows import bare_name, file_rows
from agent_forge.questions.sources.task import Part, Row, TaskQuestions, checked
from agent_forge.records import Question, first_problem

_JUDGED_ON = frozenset({"test", "validation", "dev", "gate", "verify"})
# Which family a row without a prompt is of, by its fields.
_FAMILY_FIELDS = (
    ("gsm8k", {"question", "answer"}),
    ("math", {"problem"}),
    ("reasoning", {"question", "answerKey"}),
    ("bbh", {"input", "target"}),
)


def load_file(path: Path, published: Collection[str] = ()) -> TaskQuestions:
    """Load a file of questions.

    Args:
        path: the file.
        published: names of published data sets, whose test questions are not baked from.

    Raises:
        QuestionError: naming file and line, when one is no question or has the id of another.
    """
    name = bare_name(path)[0]
    questions = stored(read_questions(path))
    tasks = {question.task for question in questions}
    task = tasks.pop() if len(tasks) == 1 else name
    part: Part = "test" if name.lower() in _JUDGED_ON and task in published else "any"
    return TaskQuestions(task, {part: questions}, str(path), {part: name})


def read_questions(path: Path) -> Iterator[Question]:
    """Yield the questions of a file one by one; raises like `load_file`."""
    names, lines = Numbered(), array("q")
    for where, row in file_rows(path):
        question = _question(row, bare_name(path)[0], where, path)
        if (number := names.add(question.id)) < len(lines):
            raise QuestionError(
                f"{where}: question id {question.id} occurs twice, first in {path}:{lines[number]}; ids must be unique"
            )
        lines.append(int(where.rpartition(":")[2]))
        yield question


def read_prompts(path: Path) -> Iterator[str]:
    """Yield the prompts of a file whose questions have been read before, and found good."""
    return (str(row["prompt"]) for _, row in file_rows(path))


def _question(row: Row, task: str, where: str, path: Path) -> Question:
    prompt = row.get("prompt")
    if isinstance(prompt, str) and not prompt.strip():
        raise QuestionError(f"{where}: not a question: prompt is {prompt!r}; a text is expected")
    # Without a prompt it is the prompt that the error must name.
    made = question_id(prompt) if isinstance(prompt, str) else "none"
    try:
        question = Question.model_validate({"task": task, "id": made, **row})
    except ValidationError as cause:
        found = f"; found {', '.join(row) or 'an empty object'}" if cause.errors()[0]["type"] == "missing" else ""
        said = f"{first_problem(cause)}{found}"[:400]
        raise QuestionError(f"{where}: not a question: {said}{_family_hint(row, path)}") from cause
    return checked(question, where)


def _family_hint(row: Row, path: Path) -> str:
    family = next((name for name, fields in _FAMILY_FIELDS if fields <= set(row)), None)
    if family is None or "prompt" in row:
        return ""
    return f"; it has the fields of {family}: name it {family}:{path} to have it read as such"
