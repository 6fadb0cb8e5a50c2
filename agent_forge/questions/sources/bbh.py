r"""bbh: BIG-Bench Hard (Suzgun et al. 2022, arXiv:2210.09261), 27 tasks of 250 questions or fewer, 6,511 in all.

`bbh/date_understanding` is one task, `bbh` all of them as one. There are only test questions: a guard, or a target
beside another that has something to bake from. One row as published, in a file per task, under `examples`:

    {"input": "Today is Christmas Eve of 1937. What is the date tomorrow in MM/DD/YYYY?\nOptions:\n(A) 12/11/1937\n(B)
     12/25/1937\n(C) 01/04/1938\n(D) 12/04/1937\n(E) 12/25/2006\n(F) 07/25/1937", "target": "(B)"}

A target in brackets is a choice among the options in the text, a whole number is a number, and anything else is text
that the answer must be: `True`, `No`, `valid`, sorted words, closing brackets. A few rows have a target that is none of
their options, such as `Monsters, Inc`, which the options split in two; they stay, and are hard to get right in any arm.

Many tasks open every question with the same words. Ids are made of the text with its punctuation, since brackets alone
tell some questions apart.
"""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

from agent_forge.answers.choice import read_options, reference_letter
from agent_forge.errors import QuestionError
from agent_forge.questions.on_disk import joined
from agent_forge.questions.sources.published import HubPart, Published, has_part, load_published
from agent_forge.questions.sources.task import Row, TaskQuestions, published_question, text_field
from agent_forge.records import AnswerKind, Question

TASKS = (
    "boolean_expressions",
    "causal_judgement",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
    "web_of_lies",
    "word_sorting",
)
_REPOSITORY = "SaylorTwift/bbh"
_FOLDERS = ("bbh", "BIG-Bench-Hard/bbh", "BIG-Bench-Hard")
_BRACKETED = re.compile(r"\(([A-Z])\)")
_WHOLE = re.compile(r"[+-]?\d+")


def read_row(row: Row, where: str) -> Question:
    """Make a question of a row; raises QuestionError for one that is not as published."""
    prompt, target = text_field(row, "input", where), text_field(row, "target", where).strip()
    kind, reference = _answer(prompt, target)
    question = published_question(prompt, reference, kind, "bbh", where)
    return question.model_copy(update={"id": hashlib.sha256(f"bbh/{prompt}".encode()).hexdigest()[:16]})


def _answer(prompt: str, target: str) -> tuple[AnswerKind, str]:
    letter = _BRACKETED.fullmatch(target)
    options = read_options(prompt)
    if letter and reference_letter(letter.group(1), options):
        return "choice", letter.group(1)
    return ("number" if _WHOLE.fullmatch(target) else "text"), target


def _one(task: str) -> Published:
    return Published(
        name=f"bbh/{task}",
        kind="text",
        folders=_FOLDERS,
        files={"test": (task,)},
        hub={"test": HubPart(_REPOSITORY, (task,), "test")},
        read_row=read_row,
        shares_wording=True,
    )


BBH_TASKS = {f"bbh/{task}": _one(task) for task in TASKS}
# Rows in this form from elsewhere, and all tasks from the hub.
BBH = Published(
    name="bbh",
    kind="text",
    folders=_FOLDERS,
    files={"test": ("test",)},
    hub={"test": HubPart(_REPOSITORY, TASKS, "test")},
    read_row=read_row,
    shares_wording=True,
)


def load_bbh(dataset_path: str | None) -> TaskQuestions:
    """Load all tasks as one; from a local directory those that are there.

    Raises:
        QuestionError: when there is none, or a row is not as published.
    """
    if dataset_path is None:
        return load_published(BBH, None)
    root = Path(dataset_path)
    folders = [*(root / folder for folder in _FOLDERS), root]
    present = [task for task in BBH_TASKS.values() if any(has_part(task, "test", folder) for folder in folders)]
    if not present:
        raise QuestionError(
            f"dataset_path {dataset_path} has no bbh/{TASKS[0]}.json nor any other of its tasks; "
            "put the published files there"
        )
    loaded = [load_published(task, dataset_path).renamed("bbh") for task in present]
    questions = joined([task.parts["test"] for task in loaded])
    more = f" and {len(loaded) - 1} more" if len(loaded) > 1 else ""
    return replace(loaded[0], parts={"test": questions}, source=f"{loaded[0].source}{more}")
