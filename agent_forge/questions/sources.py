"""Where question sets come from: the bundled arithmetic, gsm8k, or a file of questions.

`arithmetic` and a file of questions have one part, `any`, that all splits draw from. A published data set keeps its
parts: `train` is only ever baked from, `test` only ever judged on.

One row of gsm8k as published (Cobbe et al. 2021): `{"question": "Natalia sold clips to ...", "answer": "Natalia sold
48/2 = <<48/2=24>>24 clips in May.... #### 72"}`; the reference is what follows `####`.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from agent_forge.errors import QuestionError
from agent_forge.questions import arithmetic
from agent_forge.questions.normalise import question_id
from agent_forge.records import Question, first_problem

Part = Literal["train", "test", "any"]
NAMES = ("arithmetic", "gsm8k", "math", "code", "reasoning")
_NOT_YET = ("math", "code", "reasoning")
_GSM8K_HUB = "openai/gsm8k"


@dataclass(frozen=True)
class TaskQuestions:
    """One task's questions by published part, and where they came from."""

    task: str
    parts: Mapping[Part, tuple[Question, ...]]
    source: str


def load_task(name: str, dataset_path: str | None = None) -> TaskQuestions:
    """Load a task by name, or a JSON lines file of questions.

    Args:
        name: one of `NAMES`, or a path that ends in .jsonl.
        dataset_path: local directory that holds the published files of a named data set.

    Raises:
        QuestionError: for an unknown name, a missing or corrupt file, or a duplicate id.
    """
    if name.endswith(".jsonl") or Path(name).is_file():
        return _load_file(Path(name))
    if name == "arithmetic":
        questions = tuple(arithmetic.generate(arithmetic.POOL_SIZE, seed=0))
        return TaskQuestions(name, {"any": questions}, "generated, seed 0")
    if name == "gsm8k":
        return _load_gsm8k(dataset_path)
    if name in _NOT_YET:
        raise QuestionError(f"data set {name} is not supported by this version; give a .jsonl file of questions")
    near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"expected {', '.join(NAMES)} or a .jsonl file of questions"
    raise QuestionError(f"unknown data set {name}; {hint}")


def _load_file(path: Path) -> TaskQuestions:
    questions: dict[str, Question] = {}
    for number, row in _json_lines(path):
        prompt = row.get("prompt")
        if "id" not in row and isinstance(prompt, str):
            row = {"id": question_id(prompt), **row}
        try:
            question = Question.model_validate({"task": path.stem, **row})
        except ValidationError as cause:
            raise QuestionError(f"{path}:{number}: not a question: {first_problem(cause)}") from cause
        if question.id in questions:
            raise QuestionError(f"{path}:{number}: question id {question.id} occurs twice; ids must be unique")
        questions[question.id] = question
    if not questions:
        raise QuestionError(f"{path} holds no questions; one JSON object per line is expected")
    return TaskQuestions(path.stem, {"any": tuple(questions.values())}, str(path))


def _load_gsm8k(dataset_path: str | None) -> TaskQuestions:
    parts: dict[Part, tuple[Question, ...]] = {}
    for part in ("train", "test"):
        rows = _published_rows(part, dataset_path)
        parts[part] = tuple(_gsm8k_question(row, where) for where, row in rows)
    return TaskQuestions("gsm8k", parts, dataset_path or _GSM8K_HUB)


def _gsm8k_question(row: Mapping[str, object], where: str) -> Question:
    try:
        prompt, worked = str(row["question"]), str(row["answer"])
        reference = worked.split("####")[1].strip().replace(",", "")
    except (KeyError, IndexError) as cause:
        raise QuestionError(f"{where}: not a gsm8k row; question and answer with #### are expected") from cause
    return Question(id=question_id(prompt), prompt=prompt, reference=reference, kind="number", task="gsm8k")


def _published_rows(part: str, dataset_path: str | None) -> Iterator[tuple[str, Mapping[str, object]]]:
    if dataset_path is None:
        yield from _hub_rows(part)
        return
    places = [Path(dataset_path) / "gsm8k" / f"{part}.jsonl", Path(dataset_path) / f"{part}.jsonl"]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise QuestionError(f"dataset_path {dataset_path} has no gsm8k/{part}.jsonl; put the published file there")
    for number, row in _json_lines(path):
        yield f"{path}:{number}", row


def _hub_rows(part: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    try:
        import datasets

        rows = datasets.load_dataset(_GSM8K_HUB, "main", split=part)
    except Exception as cause:
        summary = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise QuestionError(
            f"data set gsm8k cannot be loaded from the hub ({summary}); set dataset_path to a local copy"
        ) from cause
    for number, row in enumerate(rows, start=1):
        yield f"{_GSM8K_HUB}:{number}", row


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as cause:
        raise QuestionError(f"cannot read questions {path}: {cause}") from cause
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as cause:
            raise QuestionError(f"{path}:{number}: not JSON: {cause}") from cause
        if not isinstance(row, dict):
            raise QuestionError(f"{path}:{number}: a {type(row).__name__}; a JSON object is expected")
        yield number, row
