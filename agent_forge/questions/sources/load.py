"""A task by its name."""

import difflib
from collections.abc import Callable
from pathlib import Path

from agent_forge.answers import require_grader
from agent_forge.errors import QuestionError
from agent_forge.questions import arithmetic
from agent_forge.questions.sources.arc import ARC_CHALLENGE, ARC_EASY
from agent_forge.questions.sources.bbh import BBH, BBH_TASKS, load_bbh
from agent_forge.questions.sources.code import load_code
from agent_forge.questions.sources.commonsenseqa import COMMONSENSEQA
from agent_forge.questions.sources.gsm8k import GSM8K
from agent_forge.questions.sources.humaneval import HUMANEVAL
from agent_forge.questions.sources.mathematics import MATH, MATH500
from agent_forge.questions.sources.mbpp import MBPP
from agent_forge.questions.sources.published import HUB_NAME, Published, load_from_place, load_published, local_path
from agent_forge.questions.sources.question_file import load_file
from agent_forge.questions.sources.reasoning import REASONING, load_reasoning
from agent_forge.questions.sources.rows import bare_name, what_is_at
from agent_forge.questions.sources.task import TaskQuestions

_PUBLISHED = {
    data_set.name: data_set
    for data_set in (GSM8K, MATH, REASONING, MATH500, ARC_CHALLENGE, ARC_EASY, COMMONSENSEQA, BBH, HUMANEVAL, MBPP)
}
# Those that look for more than their own files.
_LOADERS: dict[str, Callable[[str | None], TaskQuestions]] = {"reasoning": load_reasoning, "bbh": load_bbh}
_FIRST = (arithmetic.TASK, "gsm8k", "math", "reasoning", "code")
NAMES = (*_FIRST, *(name for name in _PUBLISHED if name not in _FIRST))
_FAMILIES = _PUBLISHED | BBH_TASKS


def load_task(name: str, dataset_path: str | None = None, allow_code_execution: bool = False) -> TaskQuestions:
    """Load a task by name, a file of questions, or a data set in the form of a published one from elsewhere.

    Args:
        name: one of `NAMES`; `bbh/TASK`; a path with a suffix or a separator in it, such as `mine.jsonl`; or
            `FAMILY:PLACE`, where PLACE is a file, a directory, or `owner/name[:configuration]` on the hub.
        dataset_path: local directory that holds the published files of a named data set; None for the hub.
        allow_code_execution: whether answers may be run to judge them; without it, data sets of code are refused.

    Raises:
        InputError: for an unknown name, a kind of answer that cannot be graded here, a missing or corrupt file, a row
            that is no question, or a duplicate id.
    """
    if name == arithmetic.TASK:
        questions = tuple(arithmetic.generate(arithmetic.POOL_SIZE, seed=0))
        return TaskQuestions(name, {"any": questions}, "generated, seed 0", {"any": "generated"})
    if name == "code":
        require_grader("code", allow_code_execution)
        return load_code(dataset_path)
    if name in _FAMILIES:
        # Before the download: what cannot be graded need not be fetched.
        require_grader(_FAMILIES[name].kind, allow_code_execution)
        return _LOADERS[name](dataset_path) if name in _LOADERS else load_published(_FAMILIES[name], dataset_path)
    family, colon, place = name.partition(":")
    if colon and family in _FAMILIES:
        return _load_elsewhere(_FAMILIES[family], place, allow_code_execution)
    return _load_own(name)


def _load_own(name: str) -> TaskQuestions:
    path = Path(name)
    at = what_is_at(path)
    if not (path.suffix or len(path.parts) > 1) or (at == "nothing" and _is_misspelt(name)):
        raise QuestionError(_unknown(name))
    if at == "directory":
        raise QuestionError(
            f"cannot read questions {name}: it is a directory; name a file, or for published files FAMILY:{name}, "
            f"with one of {', '.join(_PUBLISHED)}"
        )
    if at == "nothing" and not path.suffix and HUB_NAME.fullmatch(name.removeprefix("hf://")):
        raise QuestionError(
            f"cannot read questions {name}: there is no such file; for a data set on the hub say whose form its rows "
            f"are in, such as gsm8k:{name}"
        )
    return load_file(path, [*_FAMILIES, "code"])


def _load_elsewhere(data_set: Published, place: str, allow_code_execution: bool) -> TaskQuestions:
    require_grader(data_set.kind, allow_code_execution)
    path = local_path(place)
    at = what_is_at(path) if place else "nothing"
    if at == "directory" and data_set.name in _LOADERS:
        found = _LOADERS[data_set.name](str(path))
    else:
        found = load_from_place(data_set, place)
    # The name must not hang on where a user keeps a file: it is part of what a bake is known by.
    own = place.removeprefix("hf://") if at == "nothing" else bare_name(path.absolute())[0]
    return found.renamed(f"{data_set.name}:{own}")


def _is_misspelt(name: str) -> bool:
    """Whether a name with a separator or a suffix is meant as a data set's: `bbh/hyperbatn`, `gsm9k:owner/name`."""
    family, colon, _ = name.partition(":")
    if colon:
        return "/" not in family and bool(difflib.get_close_matches(family, _FAMILIES, n=1, cutoff=0.7))
    return name.startswith("bbh/") and not bare_name(Path(name))[1]


def _unknown(name: str) -> str:
    family, colon, place = name.partition(":")
    near = difflib.get_close_matches(family.lower(), [*NAMES, *BBH_TASKS], n=1, cutoff=0.5)
    if colon and near == [family]:
        return f"unknown data set {name}; {family} is read from nowhere else: give {family} alone"
    others = ", ".join(NAMES[len(_FIRST) :])
    expected = f"expected {', '.join(_FIRST)} or a .jsonl file of questions; {others} and bbh/TASK are known too"
    hint = f"did you mean {near[0]}{colon}{place}?" if near else expected
    return f"unknown data set {name}; {hint}"
