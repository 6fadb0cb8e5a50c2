"""Splitting questions into bake, gate and verify by the hash of their id; adding an item never moves another."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from agent_forge.errors import QuestionError
from agent_forge.questions.overlap import first_shared, index
from agent_forge.questions.sources import Part, TaskQuestions
from agent_forge.records import DroppedQuestion, Question, SplitName, SplitReport, rows_text, text_sha256

# Share of a part's hash range that goes to each split, in the order given.
SHARES: dict[Part, tuple[tuple[SplitName, float], ...]] = {
    "any": (("bake", 0.6), ("gate", 0.2), ("verify", 0.2)),
    "train": (("bake", 1.0),),
    "test": (("gate", 0.5), ("verify", 0.5)),
}
# What is judged on stays whole: an item is dropped from the split that leaks into a later one.
_LEAKS: tuple[tuple[SplitName, tuple[SplitName, ...]], ...] = (("bake", ("gate", "verify")), ("gate", ("verify",)))


@dataclass(frozen=True)
class Splits:
    """The questions of each split, in order, and the report of how they came about."""

    questions: dict[SplitName, tuple[Question, ...]]
    report: SplitReport


def split_questions(
    targets: Sequence[TaskQuestions],
    guards: Sequence[TaskQuestions],
    eval_samples: int,
    verify_samples: int,
    bake_samples: int | None,
) -> Splits:
    """Split, drop leaks, take the first of each task's questions in the order of their hashes.

    Args:
        targets: tasks to improve.
        guards: tasks that must not get worse; nothing is baked from them.
        eval_samples: gate questions per task.
        verify_samples: verify questions per task.
        bake_samples: bake questions per target task; None takes all.

    Raises:
        QuestionError: when a task has fewer questions than a split needs.
    """
    guard_names = tuple(task.task for task in guards)
    pools, duplicates = _pools([*targets, *guards])
    pools["bake"] = [question for question in pools["bake"] if question.task not in guard_names]
    dropped = _drop_leaks(pools)
    wanted = {"bake": bake_samples, "gate": eval_samples, "verify": verify_samples}
    available = {
        task.task: {name: sum(q.task == task.task for q in pool) for name, pool in pools.items()}
        for task in [*targets, *guards]
    }
    chosen: dict[SplitName, tuple[Question, ...]] = {}
    for name, pool in pools.items():
        tasks = targets if name == "bake" else [*targets, *guards]
        chosen[name] = tuple(q for task in tasks for q in _take(pool, task.task, name, wanted[name]))
    report = SplitReport(
        counts={name: len(questions) for name, questions in chosen.items()},
        per_task={
            task: {name: sum(q.task == task for q in questions) for name, questions in chosen.items()}
            for task in available
        },
        guard_tasks=guard_names,
        digests={name: text_sha256(rows_text(questions)) for name, questions in chosen.items()},
        available=available,
        dropped=tuple(dropped),
        duplicates_removed=duplicates,
        sources={task.task: task.source for task in [*targets, *guards]},
    )
    return Splits(chosen, report)


def assign(question_id: str, part: Part) -> SplitName:
    """Return the split of a question: where the hash of its id falls in the shares of its part."""
    place = _place(question_id) / 2**64
    for name, share in SHARES[part]:
        if place < share:
            return name
        place -= share
    return SHARES[part][-1][0]


def _pools(tasks: Sequence[TaskQuestions]) -> tuple[dict[SplitName, list[Question]], int]:
    pools: dict[SplitName, list[Question]] = {"bake": [], "gate": [], "verify": []}
    seen: set[str] = set()
    duplicates = 0
    for task in tasks:
        # Test before train: a question published in both parts is judged on, never trained on.
        for part in sorted(task.parts, key=lambda part: part != "test"):
            for question in task.parts[part]:
                duplicates += question.id in seen
                if question.id not in seen:
                    seen.add(question.id)
                    pools[assign(question.id, part)].append(question)
    for pool in pools.values():
        pool.sort(key=lambda question: _place(question.id))
    return pools, duplicates


def _drop_leaks(pools: dict[SplitName, list[Question]]) -> list[DroppedQuestion]:
    dropped = []
    for name, later in _LEAKS:
        indices = {other: index(pools[other]) for other in later}
        kept = []
        for question in pools[name]:
            shared = next(((o, s) for o in later if (s := first_shared(question, indices[o])) is not None), None)
            if shared is None:
                kept.append(question)
            else:
                dropped.append(
                    DroppedQuestion(question_id=question.id, split=name, leaks_into=shared[0], shared=shared[1][0])
                )
        pools[name] = kept
    return dropped


def _take(pool: Sequence[Question], task: str, split: SplitName, wanted: int | None) -> list[Question]:
    questions = [question for question in pool if question.task == task]
    need = 2 if wanted is None else wanted
    if len(questions) < need:
        option = {"bake": "bake_samples", "gate": "eval_samples", "verify": "verify_samples"}[split]
        raise QuestionError(
            f"task {task} has {len(questions)} questions for {split} but {need} are needed; "
            f"lower {option} or give more questions"
        )
    return questions[:wanted]


def _place(question_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"split/{question_id}".encode()).digest()[:8], "big")
