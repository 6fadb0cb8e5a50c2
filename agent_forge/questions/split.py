"""Splitting questions into bake, gate and verify by the hash of their id; adding an item never moves another."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from agent_forge.errors import QuestionError
from agent_forge.questions.corpora import Corpus
from agent_forge.questions.exemplars import NO_EXEMPLARS, FewShot, choose_exemplars
from agent_forge.questions.giveaways import count_giveaways
from agent_forge.questions.normalise import question_id
from agent_forge.questions.on_disk import choose
from agent_forge.questions.pools import (
    Pools,
    check_tasks,
    drop_excluded,
    drop_leaks,
    drop_selected,
    fill_pools,
    of_tasks,
    place_of,
    without,
)
from agent_forge.questions.sources import Part, TaskQuestions
from agent_forge.questions.twins import split_twins
from agent_forge.questions.wording import own_texts
from agent_forge.records import (
    DroppedQuestion,
    ExcludedCorpus,
    Exemplar,
    PartUse,
    Question,
    SelectedQuestion,
    SplitName,
    SplitReport,
    TaskExemplars,
    rows_sha256,
)

_JUDGED: tuple[SplitName, ...] = ("gate", "verify")


@dataclass(frozen=True)
class Splits:
    """The questions of each split, in order, the report of how they came about, and the exemplars of all tasks."""

    questions: dict[SplitName, Sequence[Question]]
    report: SplitReport
    exemplars: tuple[Exemplar, ...] = ()


def split_questions(
    targets: Sequence[TaskQuestions],
    guards: Sequence[TaskQuestions],
    eval_samples: int,
    verify_samples: int,
    bake_samples: int | None,
    corpora: Sequence[Corpus] = (),
    allow_code_execution: bool = False,
    few_shot: FewShot = NO_EXEMPLARS,
    selected_on: Sequence[SelectedQuestion] = (),
) -> Splits:
    """Split, drop leaks, set exemplars aside, take the first of each task's questions in the order of their hashes.

    Args:
        targets: tasks to improve; one without questions to bake from needs another that has some.
        guards: tasks that must not get worse; nothing is baked from them.
        eval_samples: gate questions per task.
        verify_samples: verify questions per task.
        bake_samples: bake questions per target task; None takes all.
        allow_code_execution: whether answers may be run to judge them.
        corpora: what no question of any split may stand in.
        few_shot: what exemplars are wanted.
        selected_on: questions that the champion was chosen by; none of them, and nothing that leaks into them, is in
            any split.

    Raises:
        InputError: when a task has fewer questions than a split needs, nothing may be baked from, names or ids
            collide, or answers of a kind cannot be graded here.
    """
    tasks = [*targets, *guards]
    check_tasks(tasks, allow_code_execution)
    pools, duplicates = fill_pools(targets, guards)
    # These first: nothing need be left out for sharing text with a question that is itself left out.
    own = own_texts(tasks)
    in_corpora = drop_excluded(pools, corpora)
    dropped = [*in_corpora, *drop_selected(pools, selected_on, own), *drop_leaks(pools, own)]
    exemplars, exemplar_sets = set_aside(few_shot, targets, guards, pools)
    wanted = {"bake": bake_samples, "gate": eval_samples, "verify": verify_samples}
    taking = {"bake": bakeable(targets), "gate": tasks, "verify": tasks}
    places = {name: of_tasks(pool) for name, pool in pools.items()}
    taken = {
        name: {task.task: _take(places[name], task, name, wanted[name], dropped) for task in taking[name]}
        for name in pools
    }
    chosen = {name: choose(pool, np.concatenate(list(taken[name].values()))) for name, pool in pools.items()}
    twins, twin_examples = split_twins(chosen)
    report = SplitReport(
        counts={name: len(questions) for name, questions in chosen.items()},
        per_task={task.task: _counts(taken, task.task) for task in tasks},
        guard_tasks=tuple(task.task for task in guards),
        digests={name: rows_sha256(questions) for name, questions in chosen.items()},
        available={task.task: _counts(places, task.task) for task in tasks},
        dropped=tuple(dropped),
        duplicates_removed=duplicates,
        sources={task.task: task.source for task in tasks},
        parts={task.task: _part_uses(task, task in guards) for task in tasks},
        excluded=tuple(_excluded(corpus, in_corpora) for corpus in corpora),
        twins=twins,
        twin_examples=twin_examples,
        giveaways=count_giveaways(question for questions in chosen.values() for question in questions),
        few_shot=exemplar_sets,
        selected_on=tuple(selected_on),
    )
    return Splits(chosen, report, exemplars)


def _part_uses(task: TaskQuestions, guard: bool) -> tuple[PartUse, ...]:
    def use(part: Part) -> Literal["baked from", "judged on", "baked from and judged on", "not used"]:
        if part == "train":
            return "not used" if guard else "baked from"
        return "judged on" if guard or part == "test" else "baked from and judged on"

    return tuple(
        PartUse(name=task.names.get(part, part), questions=len(questions), use=use(part))
        for part, questions in task.parts.items()
    )


def bakeable(targets: Sequence[TaskQuestions]) -> list[TaskQuestions]:
    """Return the tasks that have questions to bake from."""
    found = [task for task in targets if set(task.parts) - {"test"}]
    if not found:
        raise QuestionError(
            f"task {targets[0].task} ({targets[0].source}) has only published test questions, and nothing is "
            "baked from those; add its train.jsonl, or make it a guard of a task that has one"
        )
    return found


def _counts(places: Mapping[SplitName, Mapping[str, "array[int]"]], task: str) -> dict[SplitName, int]:
    return {name: len(of_tasks.get(task, ())) for name, of_tasks in places.items()}


def _excluded(corpus: Corpus, dropped: Sequence[DroppedQuestion]) -> ExcludedCorpus:
    names = [question.split for question in dropped if question.leaks_into == corpus.name]
    counts: dict[SplitName, int] = {name: names.count(name) for name in ("bake", "gate", "verify")}
    return ExcludedCorpus(source=corpus.name, sha256=corpus.sha256, dropped=counts)


def set_aside(
    few_shot: FewShot,
    targets: Sequence[TaskQuestions],
    guards: Sequence[TaskQuestions],
    pools: Pools,
) -> tuple[tuple[Exemplar, ...], tuple[TaskExemplars, ...]]:
    """Choose exemplars and take them out of what is baked from."""
    if not few_shot.count:
        return (), ()
    judged = _Labelled([(name, pools[name]) for name in _JUDGED])
    known = {question.id for _, question in judged}
    places = of_tasks(pools["bake"])
    candidates = {task.task: choose(pools["bake"], places.get(task.task, ())) for task in targets}
    for task in guards:
        # A guard's train part is not baked from, but may be shown.
        train = task.parts.get("train", ())
        own = ((place_of(question.id), place) for place, question in enumerate(train) if question.id not in known)
        candidates[task.task] = choose(train, [place for _, place in sorted(own)])
    tasks = {task.task: task for task in (*targets, *guards)}
    exemplars, reports = choose_exemplars(few_shot, tasks, candidates, judged)
    aside = {name for exemplar in exemplars for name in (exemplar.id, question_id(exemplar.prompt))}
    shown = [place for place, question in enumerate(pools["bake"]) if question.id in aside]
    pools["bake"] = without(pools["bake"], shown)
    return exemplars, reports


class _Labelled(Sequence[tuple[SplitName, Question]]):
    """Questions of several splits, each with the name of its own."""

    def __init__(self, parts: Sequence[tuple[SplitName, Sequence[Question]]]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(len(questions) for _, questions in self._parts)

    def __iter__(self) -> Iterator[tuple[SplitName, Question]]:
        return ((name, question) for name, questions in self._parts for question in questions)

    def __getitem__(self, place: Any) -> Any:
        for name, questions in self._parts:
            if place < len(questions):
                return name, questions[place]
            place -= len(questions)
        raise IndexError(place)


def _take(
    places: Mapping[str, "array[int]"],
    task: TaskQuestions,
    split: SplitName,
    wanted: int | None,
    dropped: Sequence[DroppedQuestion],
) -> "array[int]":
    """Return the places in a split's pool of the first of a task's questions."""
    questions = places.get(task.task, array("i"))
    need = 2 if wanted is None else wanted
    if len(questions) < need:
        option = {"bake": "bake_samples", "gate": "eval_samples", "verify": "verify_samples"}[split]
        total = sum(len(part) for part in task.parts.values())
        shared = "" if questions else "; what several tasks hold counts for the first of them"
        leaks = sum(question.split == split for question in dropped)
        left_out = f" ({leaks} were left out of {split} for leaks, tasks together)" if leaks else ""
        raise QuestionError(
            f"task {task.task} ({task.source}) has {len(questions)} of its {total} questions for {split} "
            f"but {need} are needed{left_out}; lower {option} or give more questions{shared}"
        )
    return questions[:wanted]
