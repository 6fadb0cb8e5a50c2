"""Exemplars: questions shown with their answers before others of their task, the same in every arm, round and cell.

They come from what could be baked from, in the order of the hashes that split it, and are then neither baked from nor
judged on. What shares text with a gate or verify question is passed over; so is an answer that its own grader would not
count, since it would teach a form that loses.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from agent_forge.answers import grade
from agent_forge.errors import QuestionError
from agent_forge.questions.overlap import find_shared
from agent_forge.questions.sources import TaskQuestions
from agent_forge.records import DroppedQuestion, Exemplar, Question, SplitName, TaskExemplars, rows_sha256

Judged = Sequence[tuple[SplitName, Question]]
_BLANK_LINES = re.compile(r"\n\s*\n")
# Candidates compared with what is judged on at a time: nearly always the first are good.
_AT_A_TIME = 64


@dataclass(frozen=True)
class FewShot:
    """What exemplars are wanted.

    Attributes:
        count: per task; none for 0.
        style: whether answers are worked out where the data set does so.
        own: the user's; tasks that have some get no others.
        source: where those came from.
    """

    count: int = 0
    style: Literal["worked", "reference"] = "worked"
    own: tuple[Exemplar, ...] = ()
    source: str = ""


NO_EXEMPLARS = FewShot()


def choose_exemplars(
    few_shot: FewShot, tasks: Mapping[str, TaskQuestions], candidates: Mapping[str, Sequence[Question]], judged: Judged
) -> tuple[tuple[Exemplar, ...], tuple[TaskExemplars, ...]]:
    """Return the exemplars of all tasks, and what is to be known about them.

    Args:
        few_shot: what is wanted.
        tasks: by name.
        candidates: for each task, questions that may be shown, the first choice first.
        judged: every question that is judged on, or could be with more samples.

    Raises:
        QuestionError: when a task has too few, is answered by code, or exemplars of the user's leak.
    """
    if not few_shot.count:
        return (), ()
    _check_kinds(few_shot, tasks)
    chosen: list[Exemplar] = []
    reports: list[TaskExemplars] = []
    for name, task in tasks.items():
        own = [exemplar for exemplar in few_shot.own if exemplar.task == name]
        left_out: list[DroppedQuestion] = []
        if own:
            found = _own(few_shot, own, judged)
        else:
            found = list(islice(_drawn(few_shot, task, candidates[name], judged, left_out), few_shot.count))
        if len(found) < few_shot.count:
            raise QuestionError(_too_few(few_shot, task, len(found), bool(own)))
        chosen += found
        reports.append(
            TaskExemplars(
                task=name,
                source=few_shot.source if own else task.source,
                ids=tuple(exemplar.id for exemplar in found),
                sha256=rows_sha256(found),
                left_out=tuple(left_out),
            )
        )
    return tuple(chosen), tuple(reports)


def exemplar_answer(text: str) -> str:
    """Return an answer as it is shown: without blank lines, which stand between exemplars."""
    return _BLANK_LINES.sub("\n", text).strip()


def is_right(exemplar: Exemplar) -> bool:
    """Whether its own grader counts the answer."""
    return grade(exemplar.kind, exemplar.answer, exemplar.reference, exemplar.prompt).correct


def check_stops(exemplars: Iterable[Exemplar], stops: Sequence[str]) -> None:
    """Refuse stop strings that would cut the very answers that are shown.

    Raises:
        QuestionError: naming the exemplar and the stop string.
    """
    for exemplar in exemplars:
        if held := next((stop for stop in stops if stop in exemplar.answer), None):
            raise QuestionError(
                f"the answer of exemplar {exemplar.id} of task {exemplar.task} holds the stop string {held!r}, so "
                "answers like it would be cut short; change stop_strings, or set few_shot_style to reference"
            )


def _check_kinds(few_shot: FewShot, tasks: Mapping[str, TaskQuestions]) -> None:
    for name, task in tasks.items():
        if any(question.kind == "code" for part in task.parts.values() for question in part):
            raise QuestionError(
                f"few_shot is {few_shot.count} but task {name} is answered by code, before which no exemplars are "
                "shown: its prompts are programs that the answer goes on with; set few_shot to 0 or leave the task out"
            )
    if stranger := next((exemplar for exemplar in few_shot.own if exemplar.task not in tasks), None):
        raise QuestionError(
            f"{few_shot.source}: exemplar {stranger.id} is of task {stranger.task}; expected {' or '.join(tasks)}: "
            'give each its "task"'
        )


def _own(few_shot: FewShot, own: Sequence[Exemplar], judged: Judged) -> list[Exemplar]:
    shown = list(own[: few_shot.count])
    for exemplar, shared in _leaks(shown, judged):
        raise QuestionError(
            f"{few_shot.source}: exemplar {exemplar.id} shares {shared.shared[:120]!r} with a {shared.leaks_into} "
            f"question of the run; what is judged on must not be shown: replace exemplar {exemplar.id}"
        )
    return shown


def _drawn(
    few_shot: FewShot,
    task: TaskQuestions,
    candidates: Sequence[Question],
    judged: Judged,
    left_out: list[DroppedQuestion],
) -> Iterator[Exemplar]:
    for first in range(0, len(candidates), _AT_A_TIME):
        made = (_exemplar(few_shot, task, question) for question in candidates[first : first + _AT_A_TIME])
        usable = [exemplar for exemplar in made if exemplar is not None]
        leaking = {exemplar.id: dropped for exemplar, dropped in _leaks(usable, judged)}
        for exemplar in usable:
            if exemplar.id in leaking:
                left_out.append(leaking[exemplar.id])
            else:
                yield exemplar


def _exemplar(few_shot: FewShot, task: TaskQuestions, question: Question) -> Exemplar | None:
    """Return the question with its answer, worked out if it can be; None when no form of it counts as right."""
    worked = task.worked.get(question.id, "") if few_shot.style == "worked" else ""
    for text in (worked, question.reference):
        if answer := exemplar_answer(text):
            exemplar = Exemplar(**question.model_dump(), answer=answer)
            if is_right(exemplar):
                return exemplar
    return None


def _leaks(exemplars: Sequence[Exemplar], judged: Judged) -> Iterator[tuple[Exemplar, DroppedQuestion]]:
    """Yield what shares text with a question that is judged on, in the question, the answer, or from one to the other.

    The question is compared alone too: with its answer behind it, a short one would no longer be the same as another.
    """

    def texts() -> Iterator[str]:
        return (question.prompt for _, question in judged)

    found: dict[int, DroppedQuestion] = {}
    for shown in ([e.prompt for e in exemplars], [f"{e.prompt}\n{e.answer}" for e in exemplars]):
        for number, shared in find_shared(shown, texts):
            dropped = DroppedQuestion(
                question_id=exemplars[number].id,
                split="bake",
                leaks_into=judged[shared.other][0],
                shared=shared.gram,
            )
            found.setdefault(number, dropped)
    for number in sorted(found):
        yield exemplars[number], found[number]


def _too_few(few_shot: FewShot, task: TaskQuestions, found: int, own: bool) -> str:
    if own:
        return (
            f"{few_shot.source} has {found} exemplars of task {task.task} but few_shot is {few_shot.count}; "
            "give more, or lower few_shot"
        )
    return (
        f"task {task.task} ({task.source}) has {found} questions that may be shown as exemplars but few_shot is "
        f"{few_shot.count}; give exemplars of your own in few_shot_file, or lower few_shot"
    )
