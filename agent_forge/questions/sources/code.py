"""code: HumanEval and MBPP as one task; see `humaneval` and `mbpp` for their rows.

Baked from is MBPP's train part, judged on are HumanEval and MBPP's test part. Locally one of them is enough.
"""

from pathlib import Path

from agent_forge.errors import QuestionError
from agent_forge.questions.sources.humaneval import HUMANEVAL
from agent_forge.questions.sources.mbpp import MBPP
from agent_forge.questions.sources.published import Published, load_published
from agent_forge.questions.sources.task import Part, TaskQuestions
from agent_forge.records import Question

TASK = "code"


def load_code(dataset_path: str | None) -> TaskQuestions:
    """Load both data sets; from a local directory those that have a folder there.

    Args:
        dataset_path: local directory; None for the hub.

    Raises:
        QuestionError: when there is neither, or a row is not as published.
    """
    present = [data_set for data_set in (MBPP, HUMANEVAL) if dataset_path is None or _present(data_set, dataset_path)]
    if not present:
        raise QuestionError(
            f"dataset_path {dataset_path} has neither a folder {MBPP.folders[0]} nor a folder {HUMANEVAL.folders[0]}; "
            "put the published files of one of them there"
        )
    loaded = [load_published(data_set, dataset_path) for data_set in present]
    parts: dict[Part, tuple[Question, ...]] = {}
    for task in loaded:
        for part, questions in task.parts.items():
            renamed = tuple(question.model_copy(update={"task": TASK}) for question in questions)
            parts[part] = parts.get(part, ()) + renamed
    return TaskQuestions(TASK, parts, ", ".join(task.source for task in loaded))


def _present(data_set: Published, dataset_path: str) -> bool:
    return any((Path(dataset_path) / folder).is_dir() for folder in data_set.folders)
