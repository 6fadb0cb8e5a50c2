"""Pools: every question assigned to bake, gate or verify by the hash of its id, and freed of leaks.

`split` and `evolution_split` choose questions from them. Adding a question never moves another.
"""

import hashlib
from collections.abc import Mapping, Sequence

from agent_forge.answers import require_grader
from agent_forge.errors import QuestionError
from agent_forge.questions.corpora import Corpus
from agent_forge.questions.normalise import normalise_words
from agent_forge.questions.overlap import find_shared
from agent_forge.questions.sources import Part, TaskQuestions
from agent_forge.records import DroppedQuestion, Question, SelectedQuestion, SplitName

Pools = dict[SplitName, list[Question]]

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
        questions = [question for part in task.parts.values() for question in part]
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
    pools: Pools = {"bake": [], "gate": [], "verify": []}
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
        pool.sort(key=lambda question: place_of(question.id))
    return pools, duplicates


def drop_excluded(pools: Pools, corpora: Sequence[Corpus]) -> list[DroppedQuestion]:
    """Drop what stands in a corpus from every pool."""
    dropped = []
    for corpus in corpora:
        entries = _entries(pools)
        found = find_shared((question.prompt for _, question in entries), corpus.texts, container=True)
        dropped += _drop(pools, entries, {number: (corpus.name, shared.gram) for number, shared in found})
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
    entries, texts = _entries(pools), [question.text for question in selected]
    known = {question.id: question.split for question in selected}
    found = find_shared((own.get(question.id, question.prompt) for _, question in entries), texts.__iter__)
    leaking = {number: (selected[shared.other].split, shared.gram) for number, shared in found}
    same = {
        number: (known[question.id], question.prompt)
        for number, (_, question) in enumerate(entries)
        if question.id in known
    }
    return _drop(pools, entries, {**leaking, **same})


def _entries(pools: Pools) -> list[tuple[SplitName, Question]]:
    return [(name, question) for name, pool in pools.items() for question in pool]


def _drop(
    pools: Pools, entries: Sequence[tuple[SplitName, Question]], leaking: Mapping[int, tuple[str, str]]
) -> list[DroppedQuestion]:
    """Leave in the pools what does not leak; `leaking` says by number into what, and what is shared."""
    for pool in pools.values():
        pool.clear()
    for number, (name, question) in enumerate(entries):
        if number not in leaking:
            pools[name].append(question)
    return [
        dropped_question(entries[number][1], entries[number][0], into, gram)
        for number, (into, gram) in sorted(leaking.items())
    ]


def drop_leaks(pools: Pools, own: Mapping[str, str]) -> list[DroppedQuestion]:
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
            dropped.append(dropped_question(pool[number], name, others[shared.other][0], shared.gram))
        pools[name] = [question for number, question in enumerate(pool) if number not in leaking]
    return dropped


def dropped_question(question: Question, split: SplitName, leaks_into: str, shared: str) -> DroppedQuestion:
    """Return the record of a question that was left out."""
    return DroppedQuestion(question_id=question.id, split=split, leaks_into=leaks_into, shared=shared)


def place_of(question_id: str) -> int:
    """Return where in the range of all hashes (64 bits) a question lies."""
    return int.from_bytes(hashlib.sha256(f"split/{question_id}".encode()).digest()[:8], "big")
