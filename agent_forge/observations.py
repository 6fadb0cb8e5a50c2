"""From result rows to one accuracy per question and arm, with repeated rounds counted once.

    observations = observe(rows, required=("baseline", "thought"), optional=("pause",))
    observations.accuracy("thought", ["q1", "q2"])       # Fraction(1, 2)

Greedy decoding gives the same completions in every round: R rounds are then one observation, not R. A round of an arm
repeats another when every completion it holds is also in the other, for the same question. Whole rounds are compared
because single completions prove nothing: two independent rounds often give the same short answer to one question, and
dropping those would thin out whichever answer an arm gives most often and so bias its accuracy. For the same reason a
round that holds fewer than half of the questions is never taken for a repeat.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from operator import eq
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from agent_forge.errors import ResultsError
from agent_forge.numbered import Numbered
from agent_forge.records import Arm, ResultRow, TaskRole
from agent_forge.result_columns import ArmColumns, ResultColumns, Round
from agent_forge.statistics import LARGEST_SCALE, IntArray


@dataclass(frozen=True, eq=False)
class Members(Sequence[str]):
    """Some of the questions, in order: texts to whoever looks, numbers in memory.

    Attributes:
        names: of all questions.
        numbers_N: which of them.
    """

    names: Numbered
    numbers_N: NDArray[np.int32]

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> "Members": ...
    def __getitem__(self, place: Any) -> Any:
        """Return the id at a place, or some of the questions."""
        if isinstance(place, slice):
            return Members(self.names, self.numbers_N[place])
        return self.names[int(self.numbers_N[place])]

    def __len__(self) -> int:
        """Return how many questions these are."""
        return len(self.numbers_N)

    def __eq__(self, other: object) -> bool:
        """Whether others are the same ids in the same order."""
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class Accuracies(Mapping[str, Fraction]):
    """Accuracy of every question: which of a few different values it has.

    Attributes:
        names: of the questions.
        different: the accuracies there are.
        which_N: place among those, by question number.
    """

    names: Numbered
    different: tuple[Fraction, ...]
    which_N: NDArray[np.int32]

    def __getitem__(self, question: str) -> Fraction:
        """Return the accuracy of a question."""
        if (number := self.names.find(question)) is None:
            raise KeyError(question)
        return self.different[int(self.which_N[number])]

    def __iter__(self) -> Iterator[str]:
        """Yield the questions."""
        return iter(self.names)

    def __len__(self) -> int:
        """Return how many questions there are."""
        return len(self.names)

    def of(self, questions: Sequence[str]) -> NDArray[np.int32]:
        """Return the places in `different` of some questions."""
        return self.which_N[numbers_of(self.names, questions)]


@dataclass(frozen=True)
class ArmObservations:
    """One arm: accuracy per question, most distinct rounds any question has, share of truncated completions."""

    accuracies: Accuracies
    distinct_rounds: int
    truncated: float


@dataclass(frozen=True)
class Observations:
    """Validated rows by arm.

    Attributes:
        questions: questions of every task, tasks and ids sorted.
        roles: role of every task.
        arms: the arms present, in the order asked for.
        rounds: most rounds any question has.
        small_rounds: rounds that hold fewer than half of the questions, among which repeats go unseen.
    """

    questions: Mapping[str, Members]
    roles: Mapping[str, TaskRole]
    arms: Mapping[Arm, ArmObservations]
    rounds: int
    small_rounds: int

    @property
    def effective_rounds(self) -> int:
        """Fewest distinct rounds among the arms."""
        return min(arm.distinct_rounds for arm in self.arms.values())

    @property
    def target_questions(self) -> Members:
        """Questions of all target tasks."""
        targets = [self.questions[task] for task, role in self.roles.items() if role == "target"]
        return Members(targets[0].names, np.concatenate([members.numbers_N for members in targets]))

    def accuracy(self, arm: Arm, questions: Sequence[str]) -> Fraction:
        """Return the mean accuracy of an arm over some questions, each counting the same."""
        accuracies = self.arms[arm].accuracies
        counts = np.bincount(accuracies.of(questions), minlength=len(accuracies.different)).tolist()
        summed = (value * count for value, count in zip(accuracies.different, counts, strict=True))
        return sum(summed, Fraction()) / len(questions)

    def exact_differences(
        self, arm: Arm, against: Arm, questions: Sequence[str]
    ) -> tuple[list[Fraction], NDArray[np.int64]]:
        """Return accuracy in `arm` minus accuracy in `against`: the few values it has, and which of them per question.

        Equal values may stand there more than once.
        """
        one, other = self.arms[arm].accuracies, self.arms[against].accuracies
        width = len(other.different)
        pairs_N = one.of(questions).astype(np.int64) * width + other.of(questions)
        pairs, which_N = np.unique(pairs_N, return_inverse=True)
        return [one.different[pair // width] - other.different[pair % width] for pair in pairs.tolist()], which_N

    def differences(self, arm: Arm, against: Arm, questions: Sequence[str]) -> tuple[IntArray, int]:
        """Return accuracy in `arm` minus accuracy in `against` per question, as integers over a scale.

        The scale is the least common denominator. When very uneven rounds make that larger than `LARGEST_SCALE`,
        differences are rounded to a millionth, half to even, so that d and -d stay mirror images.

        Returns:
            `differences_N`, aligned with `questions`, and the scale.
        """
        exact, which_N = self.exact_differences(arm, against, questions)
        scale = _common_denominator(exact)
        return np.array([round(difference * scale) for difference in exact], dtype=np.int64)[which_N], scale


def observe(rows: Iterable[ResultRow], required: Sequence[Arm], optional: Sequence[Arm] = ()) -> Observations:
    """Check result rows and average each question over the distinct rounds of each arm.

    Args:
        rows: graded completions in any order.
        required: arms that every (question, round) must have.
        optional: arms that every (question, round) must have as soon as one has it.

    Raises:
        ResultsError: naming the question, round and arm, for a duplicate, missing or unexpected row, a question in
            two tasks, a task in two roles, a task with fewer than two questions, or no target task.
    """
    columns = ResultColumns((*required, *optional))
    for row in rows:
        columns.add(row)
    present: tuple[Arm, ...] = (*required, *(arm for arm in optional if len(columns.arms[arm])))
    columns.check_paired(present or tuple(optional))
    questions = _checked_tasks(columns)
    first = columns.arms[present[0]]
    sizes = np.bincount(np.frombuffer(first.rounds, np.int32))
    rounds = int(np.bincount(np.frombuffer(first.questions, np.int32)).max())
    del first
    return Observations(
        questions=questions,
        roles={task: columns.roles[task] for task in questions},
        # What an arm was averaged from is let go before the next one.
        arms={arm: _average(columns.arms.pop(arm), columns.numbers) for arm in present},
        rounds=rounds,
        small_rounds=int((2 * sizes[sizes > 0] < len(columns.numbers)).sum()),
    )


def numbers_of(names: Numbered, questions: Sequence[str]) -> NDArray[np.int32]:
    """Return the numbers of some questions.

    Raises:
        KeyError: for one that has none.
    """
    if isinstance(questions, Members) and questions.names is names:
        return questions.numbers_N
    found = [names.find(question) for question in questions]
    if None in found:
        raise KeyError(questions[found.index(None)])
    return np.array(found, np.int32)


def _checked_tasks(columns: ResultColumns) -> dict[str, Members]:
    if "target" not in columns.roles.values():
        raise ResultsError(f"no target task among {', '.join(sorted(columns.roles))}; mark at least one task as target")
    questions = {task: Members(columns.numbers, numbers_N) for task, numbers_N in columns.questions().items()}
    for task, members in questions.items():
        if len(members) < 2:
            raise ResultsError(f"task {task}: question {members[0]} is its only one; at least 2 are needed")
    return questions


def _average(held: ArmColumns, names: Numbered) -> ArmObservations:
    """Average every question over the distinct observations that hold it; each is an average of repeats itself."""
    graded: list[tuple[tuple[int, int], ...]] = [()]
    which_N = np.zeros(len(names), np.int64)
    for repeats in _distinct(held.by_round(), len(names)):
        right_N, asked_N = np.zeros_like(which_N), np.zeros_like(which_N)
        for same in repeats:
            right_N[same.questions_N] += same.correct_N
            asked_N[same.questions_N] += 1
        width = len(repeats) + 1
        codes, which_N = np.unique((which_N * width + right_N) * width + asked_N, return_inverse=True)
        graded = [_with(graded[code // width**2], code // width % width, code % width) for code in codes.tolist()]
    return ArmObservations(
        accuracies=Accuracies(names, tuple(_mean(grades) for grades in graded), which_N.astype(np.int32)),
        distinct_rounds=max(map(len, graded)),
        truncated=held.truncated / len(held),
    )


def _with(grades: tuple[tuple[int, int], ...], right: int, asked: int) -> tuple[tuple[int, int], ...]:
    return (*grades, (right, asked)) if asked else grades


def _mean(grades: Sequence[tuple[int, int]]) -> Fraction:
    return sum((Fraction(right, asked) for right, asked in grades), Fraction()) / len(grades)


def _distinct(rounds: Sequence[Round], questions: int) -> list[list[Round]]:
    """Group rounds into distinct observations: each round that no other contains, with all its repeats."""
    alike: dict[bytes, list[Round]] = {}
    lone: list[list[Round]] = []
    for held in rounds:
        if 2 * len(held.questions_N) < questions:
            lone.append([held])
        else:
            alike.setdefault(_signature(held), []).append(held)
    groups = list(alike.values())
    sizes = {len(group[0].questions_N) for group in groups}
    if len(sizes) == 1:
        return lone + groups
    whole = [one for one in groups if not any(one is not other and one[0].repeats(other[0]) for other in groups)]
    return lone + [list(chain.from_iterable(part for part in groups if part[0].repeats(one[0]))) for one in whole]


def _signature(held: Round) -> bytes:
    """Return what is the same of two rounds only when they say the same to the same questions."""
    return hashlib.sha256(held.questions_N.tobytes() + held.said_N.tobytes()).digest()


def _common_denominator(fractions: Iterable[Fraction]) -> int:
    scale = 1
    for fraction in fractions:
        scale = math.lcm(scale, fraction.denominator)
        if scale > LARGEST_SCALE:
            return LARGEST_SCALE
    return scale
