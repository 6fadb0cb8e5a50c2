"""Result rows as columns, seventeen bytes each, so that millions are judged in memory that holds no row.

    columns = ResultColumns(("baseline", "thought"))
    for row in rows:
        columns.add(row)
    columns.arms["thought"].by_round()

A completion is kept as eight bytes of its hash's hash. They only tell whether two whole rounds say the same. Two that
do not are taken for one if the bytes agree at every question where the texts differ, with a probability of at most
5e-20 for each pair of rounds.
"""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent_forge.errors import ResultsError
from agent_forge.numbered import Numbered
from agent_forge.records import Arm, ResultRow, TaskRole

_SAID_BYTES = 8


@dataclass(frozen=True)
class Round:
    """One round of one arm, its rows in the order of the questions' numbers.

    Attributes:
        questions_N: numbers of the questions, ascending.
        said_N: what was said to each.
        correct_N: whether that was right.
    """

    questions_N: NDArray[np.int32]
    said_N: NDArray[np.uint64]
    correct_N: NDArray[np.bool_]

    def repeats(self, other: "Round") -> bool:
        """Whether every completion is also in the other round, for the same question."""
        places_N = np.searchsorted(other.questions_N, self.questions_N)
        if len(self.questions_N) > len(other.questions_N) or (places_N == len(other.questions_N)).any():
            return False
        same = np.array_equal(other.questions_N[places_N], self.questions_N)
        return same and np.array_equal(other.said_N[places_N], self.said_N)


@dataclass
class ArmColumns:
    """The rows of one arm in the order they came; questions and rounds by their numbers in `ResultColumns`."""

    questions: "array[int]" = field(default_factory=lambda: array("i"))
    rounds: "array[int]" = field(default_factory=lambda: array("i"))
    said: bytearray = field(default_factory=bytearray)
    correct: bytearray = field(default_factory=bytearray)
    truncated: int = 0

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.questions)

    def add(self, question: int, round_number: int, row: ResultRow) -> None:
        """Add a row."""
        self.questions.append(question)
        self.rounds.append(round_number)
        self.said += hashlib.blake2b(row.completion_sha256.encode(), digest_size=_SAID_BYTES).digest()
        # Rows may be of other programs: an answer that was cut off is wrong, whatever it says.
        self.correct.append(row.correct and not row.truncated)
        self.truncated += row.truncated

    def by_round(self) -> list[Round]:
        """Return the rounds in the order of their numbers."""
        questions_N, rounds_N = np.frombuffer(self.questions, np.int32), np.frombuffer(self.rounds, np.int32)
        order_N = np.lexsort((questions_N, rounds_N))
        said_N = np.frombuffer(self.said, np.uint64)
        correct_N = np.frombuffer(self.correct, np.bool_)
        starts = np.flatnonzero(np.diff(rounds_N[order_N])) + 1
        return [Round(questions_N[k], said_N[k], correct_N[k]) for k in np.split(order_N, starts) if len(k)]


class ResultColumns:
    """The rows of several arms, checked as they come.

    Attributes:
        arms: columns of every arm.
        numbers: number of every question, in the order they came.
        rounds: the same for what rounds are called.
        roles: role of every task, in the order they came.
    """

    def __init__(self, arms: Sequence[Arm]) -> None:
        self.arms: dict[Arm, ArmColumns] = {arm: ArmColumns() for arm in arms}
        self.numbers = Numbered()
        self.rounds: dict[int, int] = {}
        self.roles: dict[str, TaskRole] = {}
        self._tasks: list[str] = []
        self._task_of = array("i")

    def add(self, row: ResultRow) -> None:
        """Add a row.

        Raises:
            ResultsError: naming question, round and arm, for an unexpected arm, a question in two tasks, a task in two
                roles.
        """
        if row.arm not in self.arms:
            raise ResultsError(f"{_place(row)}: unexpected arm; only {', '.join(self.arms)} are compared here")
        if self.roles.setdefault(row.task, row.role) != row.role:
            raise ResultsError(f"{_place(row)}: task {row.task} is both target and guard; give it one role")
        self.arms[row.arm].add(self._number(row), self.rounds.setdefault(row.round, len(self.rounds)), row)

    def _number(self, row: ResultRow) -> int:
        number = self.numbers.add(row.question_id)
        if len(self.roles) > len(self._tasks):
            self._tasks.append(row.task)
        if number == len(self._task_of):
            self._task_of.append(self._tasks.index(row.task))
        elif (task := self._tasks[self._task_of[number]]) != row.task:
            raise ResultsError(f"{_place(row)}: task is {row.task} here and {task} elsewhere")
        return number

    def check_paired(self, arms: Sequence[Arm]) -> None:
        """Refuse rows unless every one of the arms has each question in each round once.

        Raises:
            ResultsError: naming the question, round and arm.
        """
        if not any(len(self.arms[arm]) for arm in arms):
            raise ResultsError("no result rows; expected graded completions of " + " and ".join(arms))
        first_N = self._keys(arms[0])
        if all(np.array_equal(self._keys(arm), first_N) for arm in arms[1:]):
            return
        keys = {arm: self._keys(arm) for arm in arms}
        held_N = np.unique(np.concatenate(list(keys.values())))
        for arm in arms:
            if len(missing_N := np.setdiff1d(held_N, keys[arm], assume_unique=True)):
                question, number = min(self._named(missing_N))
                raise ResultsError(
                    f"question {question}, round {number}: no {arm} row, though another arm has one "
                    f"({len(missing_N)} missing); every arm must answer the same questions in the same rounds"
                )

    def _keys(self, arm: Arm) -> NDArray[np.int64]:
        """Return one number for each question and round of an arm, ascending."""
        held = self.arms[arm]
        keys_N = np.array(held.questions, np.int64)
        keys_N *= len(self.rounds)
        keys_N += np.frombuffer(held.rounds, np.int32)
        keys_N.sort()
        if len(again_N := np.flatnonzero(keys_N[1:] == keys_N[:-1])):
            question, number = next(self._named(keys_N[again_N[:1]]))
            raise ResultsError(
                f"question {question}, round {number}, arm {arm}: more than one row; keep one, or number the rounds "
                "differently"
            )
        return keys_N

    def _named(self, keys_N: NDArray[np.int64]) -> Iterator[tuple[str, int]]:
        rounds = list(self.rounds)
        return ((self.numbers[key // len(rounds)], rounds[key % len(rounds)]) for key in keys_N.tolist())

    def questions(self) -> dict[str, NDArray[np.int32]]:
        """Return the numbers of every task's questions, in the order of their ids, tasks sorted."""
        tasks_N = np.frombuffer(self._task_of, np.int32)
        places = {task: number for number, task in enumerate(self._tasks)}
        return {
            task: self.numbers.in_order(np.flatnonzero(tasks_N == places[task]).astype(np.int32))
            for task in sorted(places)
        }


def _place(row: ResultRow) -> str:
    return f"question {row.question_id}, round {row.round}, arm {row.arm}"
