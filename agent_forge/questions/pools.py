"""Pools: every question assigned to bake, gate or verify by the hash of its id, and freed of leaks.

`split` and `evolution_split` choose questions from them. Adding a question never moves another.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain

import numpy as np

from agent_forge.answers import require_grader
from agent_forge.errors import QuestionError
from agent_forge.numbered import Numbered
from agent_forge.questions.corpora import Corpus
from agent_forge.questions.normalise import normalise_words
from agent_forge.questions.on_disk import choose, joined
from agent_forge.questions.overlap import find_shared
from agent_forge.questions.sources import Part, TaskQuestions
from agent_forge.records import DroppedQuestion, Question, SelectedQuestion, SplitName

Pools = dict[SplitName, Sequence[Question]]

SPLITS: tuple[SplitName, ...] = ("bake", "gate", "verify")
# Share of a part's hash range that goes to each split, in the order given.
SHARES: dict[Part, tuple[tuple[SplitName, float], ...]] = {
    "any": (("bake", 0.6), ("gate", 0.2), ("verify", 0.2)),
    "train": (("bake", 1.0),),
    "test": (("gate", 0.5), ("verify", 0.5)),
}
PRECEDENCE: tuple[Part, ...] = ("test", "any", "train")
# What is judged on stays whole: an item is dropped from the split that leaks into a later one.
_LEAKS: tuple[tuple[SplitName, tuple[SplitName, ...]], ...] = (("bake", ("gate", "verify")), ("gate", ("verify",)))


def assign(question_id: str, part: Part) -> SplitName:
    """Return the split of a question: where the hash of its id falls in the shares of its part."""
    left = place_of(question_id) / 2**64
    for name, share in SHARES[part]:
        if left < share:
            return name
        left -= share
    return SHARES[part][-1][0]


def check_tasks(tasks: Sequence[TaskQuestions], allow_code_execution: bool) -> None:
    """Refuse tasks that collide, cannot be judged on, or hold answers that cannot be graded here.

    Raises:
        InputError: saying which.
    """
    sources: dict[str, str] = {}
    for task in tasks:
        if task.task in sources:
            raise QuestionError(
                f"{sources[task.task]} and {task.source} are both task {task.task}; give each task its own name"
            )
        sources[task.task] = task.source
        if not set(task.parts) - {"train"}:
            raise QuestionError(
                f"task {task.task} ({task.source}) has only train questions, and nothing is judged on those; "
                "give a directory or repository that holds its test part too"
            )
        questions = joined(list(task.parts.values()))
        if stranger := next((question for question in questions if question.task != task.task), None):
            raise QuestionError(
                f"{task.source}: question {stranger.id} is of task {stranger.task}; give one file per task"
            )
        for kind in sorted({question.kind for question in questions}):
            require_grader(kind, allow_code_execution)


def fill_pools(targets: Sequence[TaskQuestions], guards: Sequence[TaskQuestions]) -> tuple[Pools, int]:
    """Assign every question to its split, in the order of the hashes, and count those that came twice."""
    parts = [(part, questions) for task in targets for part, questions in task.parts.items()]
    # No guard is baked from: what could be judged on is, and its train part is not read.
    parts += [("test", questions) for task in guards for part, questions in task.parts.items() if part != "train"]
    # Test before train: a question published in both parts is judged on, never trained on.
    parts.sort(key=lambda entry: PRECEDENCE.index(entry[0]))
    stock = joined([questions for _, questions in parts])
    # By the number of an id: the place of its question, its split, and where it lies among the hashes.
    names, firsts, splits, hashes = Numbered(), array("i"), bytearray(), array("Q")
    of_parts = (part for part, questions in parts for _ in questions)
    for place, (part, question) in enumerate(zip(of_parts, stock, strict=True)):
        number = names.add(question.id)
        if number == len(firsts):
            firsts.append(place)
            splits.append(SPLITS.index(assign(question.id, part)))
            hashes.append(place_of(question.id))
        elif normalise_words((known := stock[firsts[number]]).prompt) != normalise_words(question.prompt):
            raise QuestionError(
                f"question id {question.id} stands for two questions, of {known.task} and {question.task}; "
                "give each its own id, or none"
            )
    places_N, splits_N, hashes_N = np.array(firsts, np.int32), np.array(splits, np.uint8), np.array(hashes, np.uint64)
    order_N = np.argsort(hashes_N, kind="stable")
    ordered = {name: order_N[splits_N[order_N] == code] for code, name in enumerate(SPLITS)}
    pools: Pools = {name: choose(stock, places_N[numbers_N]) for name, numbers_N in ordered.items()}
    return pools, len(stock) - len(names)


def drop_excluded(pools: Pools, corpora: Sequence[Corpus]) -> list[DroppedQuestion]:
    """Drop what stands in a corpus from every pool."""
    dropped = []
    for corpus in corpora:
        found = find_shared((question.prompt for question in _all(pools)), corpus.texts, container=True)
        dropped += _drop(pools, {number: (corpus.name, shared.gram) for number, shared in found})
    return dropped


def drop_selected(pools: Pools, selected: Sequence[SelectedQuestion], own: Mapping[str, str]) -> list[DroppedQuestion]:
    """Drop the questions that a champion was chosen by from every pool, and what leaks into them.

    Args:
        pools: are changed.
        selected: those questions.
        own: texts without the wording of a task.
    """
    if not selected:
        return []
    texts = [question.text for question in selected]
    known = {question.id: question.split for question in selected}
    found = find_shared((own.get(question.id, question.prompt) for question in _all(pools)), texts.__iter__)
    leaking = {number: (selected[shared.other].split, shared.gram) for number, shared in found}
    same = {
        number: (known[question.id], question.prompt)
        for number, question in enumerate(_all(pools))
        if question.id in known
    }
    return _drop(pools, {**leaking, **same})


def drop_leaks(pools: Pools, own: Mapping[str, str]) -> list[DroppedQuestion]:
    """Drop what leaks; `own` has texts without the wording of a task, for what is judged on against its like."""
    dropped = []
    for name, later in _LEAKS:
        own_text = own if name == "gate" else {}
        others = {other: pools[other] for other in later}
        found = dict(find_shared(_texts([pools[name]], own_text), partial(_texts, others.values(), own_text)))
        into = [other for other, pool in others.items() for _ in range(len(pool))] if found else []
        for number, shared in found.items():
            dropped.append(dropped_question(pools[name][number], name, into[shared.other], shared.gram))
        pools[name] = without(pools[name], found)
    return dropped


def without(pool: Sequence[Question], numbers: Iterable[int]) -> Sequence[Question]:
    """Return the questions of a pool but some."""
    kept_N = np.ones(len(pool), np.bool_)
    kept_N[list(numbers)] = False
    return choose(pool, np.flatnonzero(kept_N))


def of_tasks(pool: Iterable[Question]) -> dict[str, "array[int]"]:
    """Return the places of every task's questions in a pool."""
    places: dict[str, array[int]] = {}
    for place, question in enumerate(pool):
        places.setdefault(question.task, array("i")).append(place)
    return places


def _all(pools: Pools) -> Iterator[Question]:
    return chain.from_iterable(pools.values())


def _texts(pools: Iterable[Iterable[Question]], own: Mapping[str, str]) -> Iterator[str]:
    return (own.get(question.id, question.prompt) for pool in pools for question in pool)


def _drop(pools: Pools, leaking: Mapping[int, tuple[str, str]]) -> list[DroppedQuestion]:
    """Leave in the pools what does not leak; `leaking` says by number in all of them into what, and what is shared."""
    dropped, first = [], 0
    for name, pool in pools.items():
        gone = sorted(number - first for number in leaking if first <= number < first + len(pool))
        dropped += [dropped_question(pool[place], name, *leaking[first + place]) for place in gone]
        first += len(pool)
        pools[name] = without(pool, gone)
    return dropped


def dropped_question(question: Question, split: SplitName, leaks_into: str, shared: str) -> DroppedQuestion:
    """Return the record of a question that was left out."""
    return DroppedQuestion(question_id=question.id, split=split, leaks_into=leaks_into, shared=shared)


def place_of(question_id: str) -> int:
    """Return where in the range of all hashes (64 bits) a question lies."""
    return int.from_bytes(hashlib.sha256(f"split/{question_id}".encode()).digest()[:8], "big")
