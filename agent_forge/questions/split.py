"""Splitting questions into bake, gate and verify by the hash of their id; adding an item never moves another."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agent_forge.answers import require_grader
from agent_forge.errors import QuestionError
from agent_forge.questions.corpora import Corpus
from agent_forge.questions.exemplars import NO_EXEMPLARS, FewShot, choose_exemplars
from agent_forge.questions.giveaways import count_giveaways
from agent_forge.questions.normalise import normalise_words, question_id
from agent_forge.questions.overlap import find_shared
from agent_forge.questions.sources import Part, TaskQuestions
from agent_forge.questions.twins import split_twins
from agent_forge.questions.wording import own_texts
from agent_forge.records import (
    DroppedQuestion,
    ExcludedCorpus,
    Exemplar,
    PartUse,
    Question,
    SplitName,
    SplitReport,
    TaskExemplars,
    rows_text,
    text_sha256,
)

# Share of a part's hash range that goes to each split, in the order given.
SHARES: dict[Part, tuple[tuple[SplitName, float], ...]] = {
    "any": (("bake", 0.6), ("gate", 0.2), ("verify", 0.2)),
    "train": (("bake", 1.0),),
    "test": (("gate", 0.5), ("verify", 0.5)),
}
PRECEDENCE: tuple[Part, ...] = ("test", "any", "train")
# What is judged on stays whole: an item is dropped from the split that leaks into a later one.
_JUDGED: tuple[SplitName, ...] = ("gate", "verify")
_LEAKS: tuple[tuple[SplitName, tuple[SplitName, ...]], ...] = (("bake", ("gate", "verify")), ("gate", ("verify",)))


@dataclass(frozen=True)
class Splits:
    """The questions of each split, in order, the report of how they came about, and the exemplars of all tasks."""

    questions: dict[SplitName, tuple[Question, ...]]
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

    Raises:
        InputError: when a task has fewer questions than a split needs, nothing may be baked from, names or ids
            collide, or answers of a kind cannot be graded here.
    """
    tasks = [*targets, *guards]
    _check_tasks(tasks, allow_code_execution)
    pools, duplicates = _pools(targets, guards)
    # Corpora first: nothing need be left out for sharing text with a question that is itself left out.
    in_corpora = _drop_excluded(pools, corpora)
    dropped = [*in_corpora, *_drop_leaks(pools, own_texts(tasks))]
    exemplars, exemplar_sets = _set_aside(few_shot, targets, guards, pools)
    wanted = {"bake": bake_samples, "gate": eval_samples, "verify": verify_samples}
    taking = {"bake": _bakeable(targets), "gate": tasks, "verify": tasks}
    chosen = {
        name: tuple(q for task in taking[name] for q in _take(pool, task, name, wanted[name], dropped))
        for name, pool in pools.items()
    }
    twins, twin_examples = split_twins(chosen)
    report = SplitReport(
        counts={name: len(questions) for name, questions in chosen.items()},
        per_task={task.task: _counts(chosen, task.task) for task in tasks},
        guard_tasks=tuple(task.task for task in guards),
        digests={name: text_sha256(rows_text(questions)) for name, questions in chosen.items()},
        available={task.task: _counts(pools, task.task) for task in tasks},
        dropped=tuple(dropped),
        duplicates_removed=duplicates,
        sources={task.task: task.source for task in tasks},
        parts={task.task: _part_uses(task, task in guards) for task in tasks},
        excluded=tuple(_excluded(corpus, in_corpora) for corpus in corpora),
        twins=twins,
        twin_examples=twin_examples,
        giveaways=count_giveaways(question for questions in chosen.values() for question in questions),
        few_shot=exemplar_sets,
    )
    return Splits(chosen, report, exemplars)


def assign(question_id: str, part: Part) -> SplitName:
    """Return the split of a question: where the hash of its id falls in the shares of its part."""
    place = _place(question_id) / 2**64
    for name, share in SHARES[part]:
        if place < share:
            return name
        place -= share
    return SHARES[part][-1][0]


def _part_uses(task: TaskQuestions, guard: bool) -> tuple[PartUse, ...]:
    def use(part: Part) -> Literal["baked from", "judged on", "baked from and judged on", "not used"]:
        if part == "train":
            return "not used" if guard else "baked from"
        return "judged on" if guard or part == "test" else "baked from and judged on"

    return tuple(
        PartUse(name=task.names.get(part, part), questions=len(questions), use=use(part))
        for part, questions in task.parts.items()
    )


def _check_tasks(tasks: Sequence[TaskQuestions], allow_code_execution: bool) -> None:
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
        questions = [question for part in task.parts.values() for question in part]
        if stranger := next((question for question in questions if question.task != task.task), None):
            raise QuestionError(
                f"{task.source}: question {stranger.id} is of task {stranger.task}; give one file per task"
            )
        for kind in sorted({question.kind for question in questions}):
            require_grader(kind, allow_code_execution)


def _bakeable(targets: Sequence[TaskQuestions]) -> list[TaskQuestions]:
    """Return the tasks that have questions to bake from."""
    found = [task for task in targets if set(task.parts) - {"test"}]
    if not found:
        raise QuestionError(
            f"task {targets[0].task} ({targets[0].source}) has only published test questions, and nothing is "
            "baked from those; add its train.jsonl, or make it a guard of a task that has one"
        )
    return found


def _counts(questions: Mapping[SplitName, Sequence[Question]], task: str) -> dict[SplitName, int]:
    return {name: sum(question.task == task for question in chosen) for name, chosen in questions.items()}


def _pools(
    targets: Sequence[TaskQuestions], guards: Sequence[TaskQuestions]
) -> tuple[dict[SplitName, list[Question]], int]:
    """Assign every question to its split, in the order of the hashes, and count those that came twice."""
    parts = [(part, questions) for task in targets for part, questions in task.parts.items()]
    # No guard is baked from: what could be judged on is, and its train part is not read.
    parts += [("test", questions) for task in guards for part, questions in task.parts.items() if part != "train"]
    # Test before train: a question published in both parts is judged on, never trained on.
    parts.sort(key=lambda entry: PRECEDENCE.index(entry[0]))
    pools: dict[SplitName, list[Question]] = {"bake": [], "gate": [], "verify": []}
    seen: dict[str, Question] = {}
    duplicates = 0
    for part, questions in parts:
        for question in questions:
            known = seen.get(question.id)
            if known is None:
                seen[question.id] = question
                pools[assign(question.id, part)].append(question)
            elif normalise_words(known.prompt) != normalise_words(question.prompt):
                raise QuestionError(
                    f"question id {question.id} stands for two questions, of {known.task} and {question.task}; "
                    "give each its own id, or none"
                )
            else:
                duplicates += 1
    for pool in pools.values():
        pool.sort(key=lambda question: _place(question.id))
    return pools, duplicates


def _drop_excluded(pools: dict[SplitName, list[Question]], corpora: Sequence[Corpus]) -> list[DroppedQuestion]:
    dropped = []
    for corpus in corpora:
        entries = [(name, question) for name, pool in pools.items() for question in pool]
        leaking = set()
        for number, shared in find_shared((question.prompt for _, question in entries), corpus.texts, container=True):
            leaking.add(number)
            name, question = entries[number]
            dropped.append(_dropped(question, name, corpus.name, shared.gram))
        for pool in pools.values():
            pool.clear()
        for number, (name, question) in enumerate(entries):
            if number not in leaking:
                pools[name].append(question)
    return dropped


def _excluded(corpus: Corpus, dropped: Sequence[DroppedQuestion]) -> ExcludedCorpus:
    names = [question.split for question in dropped if question.leaks_into == corpus.name]
    counts: dict[SplitName, int] = {name: names.count(name) for name in ("bake", "gate", "verify")}
    return ExcludedCorpus(source=corpus.name, sha256=corpus.sha256, dropped=counts)


def _drop_leaks(pools: dict[SplitName, list[Question]], own: Mapping[str, str]) -> list[DroppedQuestion]:
    """Drop what leaks; `own` has texts without the wording of a task, for what is judged on against its like."""
    dropped = []
    for name, later in _LEAKS:
        own_text = own if name == "gate" else {}
        others = [(other, own_text.get(question.id, question.prompt)) for other in later for question in pools[other]]
        pool = pools[name]
        leaking = set()
        texts = [text for _, text in others]
        for number, shared in find_shared((own_text.get(q.id, q.prompt) for q in pool), texts.__iter__):
            leaking.add(number)
            dropped.append(_dropped(pool[number], name, others[shared.other][0], shared.gram))
        pools[name] = [question for number, question in enumerate(pool) if number not in leaking]
    return dropped


def _set_aside(
    few_shot: FewShot,
    targets: Sequence[TaskQuestions],
    guards: Sequence[TaskQuestions],
    pools: dict[SplitName, list[Question]],
) -> tuple[tuple[Exemplar, ...], tuple[TaskExemplars, ...]]:
    """Choose exemplars and take them out of what is baked from."""
    judged = [(name, question) for name in _JUDGED for question in pools[name]]
    known = {question.id for _, question in judged}
    candidates = {task.task: [question for question in pools["bake"] if question.task == task.task] for task in targets}
    for task in guards:
        # A guard's train part is not baked from, but may be shown.
        own = (question for question in task.parts.get("train", ()) if question.id not in known)
        candidates[task.task] = sorted(own, key=lambda question: _place(question.id))
    tasks = {task.task: task for task in (*targets, *guards)}
    exemplars, reports = choose_exemplars(few_shot, tasks, candidates, judged)
    aside = {name for exemplar in exemplars for name in (exemplar.id, question_id(exemplar.prompt))}
    pools["bake"] = [question for question in pools["bake"] if question.id not in aside]
    return exemplars, reports


def _dropped(question: Question, split: SplitName, leaks_into: str, shared: str) -> DroppedQuestion:
    return DroppedQuestion(question_id=question.id, split=split, leaks_into=leaks_into, shared=shared)


def _take(
    pool: Sequence[Question],
    task: TaskQuestions,
    split: SplitName,
    wanted: int | None,
    dropped: Sequence[DroppedQuestion],
) -> list[Question]:
    questions = [question for question in pool if question.task == task.task]
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


def _place(question_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"split/{question_id}".encode()).digest()[:8], "big")
