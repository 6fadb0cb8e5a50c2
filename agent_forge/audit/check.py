"""Grade every case of every question and count those that were graded otherwise than they must be."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from agent_forge.answers import grade, require_grader
from agent_forge.audit import choices, mathematics, numbers, texts
from agent_forge.audit.cases import Case
from agent_forge.errors import InputError
from agent_forge.records import AnswerKind, Question, Record

Cases = Callable[[Question, tuple[str, ...]], Iterator[Case]]
CASES: Mapping[AnswerKind, Cases] = {
    "number": numbers.cases,
    "math": mathematics.cases,
    "choice": choices.cases,
    "text": texts.cases,
}
NEIGHBOURS = 7
SHOWN = 3


class Tally(Record):
    """One phrasing or mutation of one kind: how many completions, how many graded wrongly, and the first of those."""

    kind: AnswerKind
    name: str
    right: bool
    total: int
    wrong: int
    examples: tuple[str, ...]


class Audit(Record):
    """What an audit found; a false negative is a right answer refused, a false positive a wrong one accepted."""

    questions: int
    false_negatives: int
    false_positives: int
    tallies: tuple[Tally, ...]


def audit(questions: Sequence[Question]) -> Audit:
    """Grade phrasings and mutations of the reference answers.

    Args:
        questions: of any kind but code.

    Raises:
        InputError: for questions of kind code, which have no reference program to phrase, or an unknown grader.
    """
    for kind in sorted({question.kind for question in questions}):
        if kind not in CASES:
            raise InputError(
                f"no audit for answers of kind {kind}: a question holds tests and no program that passes them, "
                "so there is no right answer to phrase; give a data set of another kind"
            )
        require_grader(kind)
    found: dict[tuple[AnswerKind, str, bool], tuple[int, list[str]]] = {}
    for number, question in enumerate(questions):
        for case in CASES[question.kind](question, _neighbours(questions, number)):
            key = (question.kind, case.name, case.right)
            total, wrong = found.get(key, (0, []))
            correct = grade(question.kind, case.completion, question.reference, question.prompt).correct
            if correct != case.right:
                wrong.append(f"{question.id}, reference {question.reference[:80]!r}: {case.completion[-200:]!r}")
            found[key] = (total + 1, wrong)
    return _summed(len(questions), found)


def _neighbours(questions: Sequence[Question], number: int) -> tuple[str, ...]:
    """Return the references of the next questions of the same kind."""
    following = (questions[(number + step) % len(questions)] for step in range(1, min(NEIGHBOURS + 1, len(questions))))
    return tuple(dict.fromkeys(other.reference for other in following if other.kind == questions[number].kind))


def _summed(questions: int, found: Mapping[tuple[AnswerKind, str, bool], tuple[int, list[str]]]) -> Audit:
    tallies = tuple(
        Tally(kind=kind, name=name, right=right, total=total, wrong=len(wrong), examples=tuple(wrong[:SHOWN]))
        for (kind, name, right), (total, wrong) in found.items()
    )
    return Audit(
        questions=questions,
        false_negatives=sum(tally.wrong for tally in tallies if tally.right),
        false_positives=sum(tally.wrong for tally in tallies if not tally.right),
        tallies=tallies,
    )
