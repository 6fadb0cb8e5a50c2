"""What an evolution asks: three sets of questions, apart from each other and from what a bake is judged on.

    evolve    scores every candidate of the search      from what could be baked from
    select    chooses the champion among the best       likewise
    confirm   measures the champion, chooses nothing    from what could be judged on

The first two are for choosing, as training is, so they come from where a bake would train; a published test part is
only ever measured on. By 13-grams, nothing of one set leaks into another, and nothing of the first two into anything
that could be judged on. The champion's manifest names them all, and its bake leaves them out (`pools.drop_selected`).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent_forge.errors import QuestionError
from agent_forge.evolution_records import EvolutionSplit
from agent_forge.questions.corpora import Corpus
from agent_forge.questions.exemplars import NO_EXEMPLARS, FewShot
from agent_forge.questions.overlap import find_shared
from agent_forge.questions.pools import check_tasks, drop_excluded, drop_leaks, drop_selected, fill_pools
from agent_forge.questions.sources import TaskQuestions
from agent_forge.questions.split import bakeable, set_aside
from agent_forge.questions.wording import own_texts
from agent_forge.records import Exemplar, Question, SelectedQuestion

SPLITS: tuple[EvolutionSplit, ...] = ("evolve", "select", "confirm")


@dataclass(frozen=True)
class EvolutionQuestions:
    """The questions of each set in order, what a bake of the champion has to leave out, and all tasks' exemplars."""

    questions: Mapping[EvolutionSplit, tuple[Question, ...]]
    selected_on: tuple[SelectedQuestion, ...]
    exemplars: tuple[Exemplar, ...] = ()


def split_for_evolution(
    targets: Sequence[TaskQuestions],
    guards: Sequence[TaskQuestions],
    samples: Mapping[EvolutionSplit, int],
    corpora: Sequence[Corpus] = (),
    allow_code_execution: bool = False,
    few_shot: FewShot = NO_EXEMPLARS,
    selected_on: Sequence[SelectedQuestion] = (),
) -> EvolutionQuestions:
    """Draw the three sets of every target task, by the hashes of ids.

    Args:
        targets: tasks that a champion is chosen by; each needs questions that could be baked from.
        guards: tasks that only its bake asks; what could be judged on of them is kept clear of.
        samples: questions of each set per task.
        corpora: what no question may stand in.
        allow_code_execution: whether answers may be run to judge them.
        few_shot: what exemplars are wanted.
        selected_on: questions that base models were chosen by; they are not asked again, but passed on.

    Raises:
        InputError: as for a bake's split, or when a task has fewer questions than a set needs.
    """
    check_tasks([*targets, *guards], allow_code_execution)
    if strangers := [task for task in targets if task not in bakeable(targets)]:
        raise QuestionError(
            f"task {strangers[0].task} ({strangers[0].source}) has only published test questions, and no champion is "
            "chosen by those; add its train.jsonl, or make it a guard"
        )
    pools, _ = fill_pools(targets, guards)
    own = own_texts([*targets, *guards])
    drop_excluded(pools, corpora)
    drop_selected(pools, selected_on, own)
    drop_leaks(pools, own)
    exemplars, _ = set_aside(few_shot, targets, guards, pools)
    judged = _ordered([*pools["gate"], *pools["verify"]])
    select, rest = _take(_ordered(pools["bake"]), targets, "select", samples)
    evolve, _ = _take(_without_leaks(rest, select, own), targets, "evolve", samples)
    confirm, _ = _take(judged, targets, "confirm", samples)
    chosen: dict[EvolutionSplit, tuple[Question, ...]] = {"evolve": evolve, "select": select, "confirm": confirm}
    return EvolutionQuestions(chosen, (*_selected(chosen, own), *selected_on), exemplars)


def _ordered(questions: Iterable[Question]) -> list[Question]:
    """Return questions by a hash of their own: by that of the splits, a bake's first choices would all be taken."""
    return sorted(questions, key=lambda question: hashlib.sha256(f"evolution/{question.id}".encode()).digest())


def _take(
    pool: Sequence[Question],
    targets: Sequence[TaskQuestions],
    split: EvolutionSplit,
    samples: Mapping[EvolutionSplit, int],
) -> tuple[tuple[Question, ...], list[Question]]:
    """Return the first questions of every task, and those that are left."""
    taken: list[Question] = []
    for task in targets:
        own = [question for question in pool if question.task == task.task]
        if len(own) < samples[split]:
            raise QuestionError(
                f"task {task.task} ({task.source}) has {len(own)} questions for {split} but {samples[split]} are "
                f"needed; lower {split}_samples or give more questions"
            )
        taken += own[: samples[split]]
    ids = {question.id for question in taken}
    return tuple(taken), [question for question in pool if question.id not in ids]


def _without_leaks(pool: Sequence[Question], others: Sequence[Question], own: Mapping[str, str]) -> list[Question]:
    texts = [own.get(question.id, question.prompt) for question in others]
    found = find_shared((own.get(question.id, question.prompt) for question in pool), texts.__iter__)
    leaking = {number for number, _ in found}
    return [question for number, question in enumerate(pool) if number not in leaking]


def _selected(
    chosen: Mapping[EvolutionSplit, Sequence[Question]], own: Mapping[str, str]
) -> Iterable[SelectedQuestion]:
    for split in SPLITS:
        for question in chosen[split]:
            yield SelectedQuestion(id=question.id, split=split, text=own.get(question.id, question.prompt))
