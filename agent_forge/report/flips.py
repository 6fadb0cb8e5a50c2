"""Questions whose outcome changed between two arms, and which of them to show.

Examples are chosen by rule, never by hand: the largest change first, then by question id, which is a hash and so
has nothing to do with what the question says.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import nsmallest
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from agent_forge.observations import Members, Observations
from agent_forge.records import Arm, Question, ResultRow
from agent_forge.report.measures import Measures

EXAMPLES = 6


@dataclass(frozen=True)
class Answer:
    """One arm's answer to show; `right` of `asked` answers of this arm to the question were correct."""

    arm: Arm
    row: ResultRow
    right: int
    asked: int


@dataclass(frozen=True)
class FlipExample:
    """One question that flipped, with the answers to show side by side, all of one round."""

    question_id: str
    question: Question | None
    task: str
    round: int
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Flipped:
    """How many questions were gained and lost, and the examples chosen from either."""

    gained: int
    lost: int
    gained_examples: tuple[FlipExample, ...]
    lost_examples: tuple[FlipExample, ...]


def choose_flips(
    measures: Measures,
    questions: Mapping[str, Question],
    before: Arm,
    after: Arm,
    shown: Sequence[Arm],
    limit: int = EXAMPLES,
) -> Flipped:
    """Count the questions that flipped from one arm to another, and pick the examples to show.

    Args:
        measures: of the experiment; the order of its rows changes nothing.
        questions: by id; one that is missing is shown by its id alone.
        before: the arm that changes are counted from.
        after: the arm that changes are counted to.
        shown: the arms to show side by side; those without rows are left out.
        limit: examples of gained and of lost questions, at most.
    """
    targets = measures.observations.target_questions
    moves = _moves(measures.observations, targets, before, after)
    gained = _first(moves, targets, limit, lambda moved: moved > 0)
    lost = _first(moves, targets, limit, lambda moved: moved < 0)
    answers = _answers(measures, {*gained.first, *lost.first})

    def example(question_id: str) -> FlipExample:
        own = answers[question_id]
        number = _telling_round(own[before], own[after], question_id in gained.first)
        return FlipExample(
            question_id=question_id,
            question=questions.get(question_id),
            task=own[before][number].task,
            round=number,
            answers=tuple(_answer(arm, own[arm], number) for arm in shown if arm in own),
        )

    return Flipped(
        gained=gained.count,
        lost=lost.count,
        gained_examples=tuple(example(question_id) for question_id in gained.first),
        lost_examples=tuple(example(question_id) for question_id in lost.first),
    )


@dataclass(frozen=True)
class _Moved:
    """How many questions moved in one direction, and those that moved most."""

    count: int
    first: dict[str, None]


def _moves(
    observations: Observations, targets: Members, before: Arm, after: Arm
) -> list[tuple[Fraction, NDArray[np.bool_]]]:
    """Return every change there is, and which of the target questions changed so."""
    exact, which_N = observations.exact_differences(after, before, targets)
    changes: dict[Fraction, list[int]] = {}
    for k, moved in enumerate(exact):
        changes.setdefault(moved, []).append(k)
    return [(moved, np.isin(which_N, alike)) for moved, alike in changes.items()]


def _first(
    moves: Iterable[tuple[Fraction, NDArray[np.bool_]]],
    targets: Members,
    limit: int,
    wanted: Callable[[Fraction], bool],
) -> _Moved:
    """Count what moved as wanted; the largest change comes first, then the smallest id."""
    count, first = 0, dict[str, None]()
    for _, which_N in sorted(((-abs(moved), which_N) for moved, which_N in moves if wanted(moved)), key=itemgetter(0)):
        members = Members(targets.names, targets.numbers_N[which_N])
        count += len(members)
        first |= dict.fromkeys(nsmallest(limit - len(first), members))
    return _Moved(count, first)


def _answers(measures: Measures, question_ids: set[str]) -> dict[str, dict[Arm, dict[int, ResultRow]]]:
    """Group the rows of some questions by question, arm and round."""
    grouped: dict[str, dict[Arm, dict[int, ResultRow]]] = {}
    for row in measures.rows:
        if row.question_id in question_ids:
            grouped.setdefault(row.question_id, {}).setdefault(row.arm, {})[row.round] = row
    return grouped


def _telling_round(before: Mapping[int, ResultRow], after: Mapping[int, ResultRow], gained: bool) -> int:
    """Return the first round that shows the flip; paired arms always have one."""
    telling = (k for k in sorted(before) if before[k].correct is not gained and after[k].correct is gained)
    return next(telling, min(before))


def _answer(arm: Arm, rounds: Mapping[int, ResultRow], number: int) -> Answer:
    return Answer(arm, rounds[number], sum(row.correct for row in rounds.values()), len(rounds))
