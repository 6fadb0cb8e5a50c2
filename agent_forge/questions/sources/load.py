"""A task by its name."""

import difflib
from pathlib import Path

from agent_forge.answers import require_grader
from agent_forge.errors import QuestionError
from agent_forge.questions import arithmetic
from agent_forge.questions.sources.code import load_code
from agent_forge.questions.sources.gsm8k import GSM8K
from agent_forge.questions.sources.humaneval import HUMANEVAL
from agent_forge.questions.sources.mathematics import MATH
from agent_forge.questions.sources.mbpp import MBPP
from agent_forge.questions.sources.published import load_published
from agent_forge.questions.sources.question_file import load_file
from agent_forge.questions.sources.reasoning import REASONING
from agent_forge.questions.sources.task import TaskQuestions

_PUBLISHED = {data_set.name: data_set for data_set in (GSM8K, MATH, REASONING, HUMANEVAL, MBPP)}
NAMES = (arithmetic.TASK, *_PUBLISHED, "code")


def load_task(name: str, dataset_path: str | None = None, allow_code_execution: bool = False) -> TaskQuestions:
    """Load a task by name, or a JSON lines file of questions.

    Args:
        name: one of `NAMES`, or a path with a suffix or a separator in it, such as `mine.jsonl`.
        dataset_path: local directory that holds the published files of a named data set; None for the hub.
        allow_code_execution: whether answers may be run to judge them; without it, data sets of code are refused.

    Raises:
        InputError: for an unknown name, a kind of answer that cannot be graded here, a missing or corrupt file, a row
            that is no question, or a duplicate id.
    """
    if name == arithmetic.TASK:
        questions = tuple(arithmetic.generate(arithmetic.POOL_SIZE, seed=0))
        return TaskQuestions(name, {"any": questions}, "generated, seed 0")
    if name == "code":
        require_grader("code", allow_code_execution)
        return load_code(dataset_path)
    if name in _PUBLISHED:
        # Before the download: what cannot be graded need not be fetched.
        require_grader(_PUBLISHED[name].kind, allow_code_execution)
        return load_published(_PUBLISHED[name], dataset_path)
    path = Path(name)
    if path.suffix or len(path.parts) > 1:
        return load_file(path)
    near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"expected {', '.join(NAMES)} or a .jsonl file of questions"
    raise QuestionError(f"unknown data set {name}; {hint}")
