"""From result rows to one accuracy per question and arm, with repeated rounds counted once.

    observations = observe(rows, required=("baseline", "thought"), optional=("pause",))
    observations.accuracy("thought", ["q1", "q2"])       # Fraction(1, 2)

Greedy decoding gives the same completions in every round: R rounds are then one observation, not R. A round of an arm
repeats another when every completion it holds is also in the other, for the same question. Whole rounds are compared
because single completions prove nothing: two independent rounds often give the same short answer to one question, and
dropping those would thin out whichever answer an arm gives most often and so bias its accuracy. For the same reason a
round that holds fewer than half of the questions is never taken for a repeat.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

import numpy as np

from agent_forge.errors import ResultsError
from agent_forge.records import Arm, ResultRow, TaskRole
from agent_forge.statistics import LARGEST_SCALE, IntArray

# (question, completion hash) pairs: what a round of one arm said.
Said = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class ArmObservations:
    """One arm: accuracy per question, most distinct rounds any question has, share of truncated completions."""

    accuracies: Mapping[str, Fraction]
    distinct_rounds: int
    truncated: float


@dataclass(frozen=True)
class Observations:
    """Validated rows by arm.

    Attributes:
        questions: question ids of every task, tasks and ids sorted.
        roles: role of every task.
        arms: the arms present, in the order asked for.
        rounds: most rounds any question has.
        small_rounds: rounds that hold fewer than half of the questions, among which repeats go unseen.
    """

    questions: Mapping[str, tuple[str, ...]]
    roles: Mapping[str, TaskRole]
    arms: Mapping[Arm, ArmObservations]
    rounds: int
    small_rounds: int

    @property
    def effective_rounds(self) -> int:
        """Fewest distinct rounds among the arms."""
        return min(arm.distinct_rounds for arm in self.arms.values())

    @property
    def target_questions(self) -> tuple[str, ...]:
        """Questions of all target tasks."""
        targets = (task for task, role in self.roles.items() if role == "target")
        return tuple(chain.from_iterable(self.questions[task] for task in targets))

    def accuracy(self, arm: Arm, questions: Sequence[str]) -> Fraction:
        """Return the mean accuracy of an arm over some questions, each counting the same."""
        accuracies = self.arms[arm].accuracies
        return sum((accuracies[question] for question in questions), Fraction()) / len(questions)

    def differences(self, arm: Arm, against: Arm, questions: Sequence[str]) -> tuple[IntArray, int]:
        """Return accuracy in `arm` minus accuracy in `against` per question, as integers over a scale.

        The scale is the least common denominator. When very uneven rounds make that larger than `LARGEST_SCALE`,
        differences are rounded to a millionth, half to even, so that d and -d stay mirror images.

        Returns:
            `differences_N`, aligned with `questions`, and the scale.
        """
        one, other = self.arms[arm].accuracies, self.arms[against].accuracies
        exact = [one[question] - other[question] for question in questions]
        scale = _common_denominator(exact)
        return np.array([round(difference * scale) for difference in exact], dtype=np.int64), scale


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
    by_arm = _index(rows, (*required, *optional))
    present: tuple[Arm, ...] = (*required, *(arm for arm in optional if by_arm[arm]))
    _check_complete(by_arm, present)
    rows_of_first_arm = by_arm[present[0]].values()
    questions, roles = _tasks(chain.from_iterable(by_arm[arm].values() for arm in present))
    count = sum(map(len, questions.values()))
    sizes = Counter(row.round for row in rows_of_first_arm)
    return Observations(
        questions=questions,
        roles=roles,
        arms={arm: _average(by_arm[arm].values(), count) for arm in present},
        rounds=max(Counter(row.question_id for row in rows_of_first_arm).values()),
        small_rounds=sum(2 * size < count for size in sizes.values()),
    )


def _index(rows: Iterable[ResultRow], arms: Sequence[Arm]) -> dict[Arm, dict[tuple[str, int], ResultRow]]:
    by_arm: dict[Arm, dict[tuple[str, int], ResultRow]] = {arm: {} for arm in arms}
    for row in rows:
        if row.arm not in by_arm:
            raise ResultsError(f"{_place(row)}: unexpected arm; only {', '.join(arms)} are compared here")
        if (row.question_id, row.round) in by_arm[row.arm]:
            raise ResultsError(f"{_place(row)}: more than one row; keep one, or number the rounds differently")
        by_arm[row.arm][row.question_id, row.round] = row
    return by_arm


def _check_complete(by_arm: Mapping[Arm, Mapping[tuple[str, int], ResultRow]], arms: Sequence[Arm]) -> None:
    held = set(chain.from_iterable(by_arm[arm] for arm in arms))
    if not held:
        raise ResultsError("no result rows; expected graded completions of " + " and ".join(arms))
    for arm in arms:
        if missing := held - by_arm[arm].keys():
            question, number = min(missing)
            raise ResultsError(
                f"question {question}, round {number}: no {arm} row, though another arm has one "
                f"({len(missing)} missing); every arm must answer the same questions in the same rounds"
            )


def _tasks(rows: Iterable[ResultRow]) -> tuple[dict[str, tuple[str, ...]], dict[str, TaskRole]]:
    task_of: dict[str, str] = {}
    roles: dict[str, TaskRole] = {}
    for row in rows:
        if task_of.setdefault(row.question_id, row.task) != row.task:
            raise ResultsError(f"{_place(row)}: task is {row.task} here and {task_of[row.question_id]} elsewhere")
        if roles.setdefault(row.task, row.role) != row.role:
            raise ResultsError(f"{_place(row)}: task {row.task} is both target and guard; give it one role")
    if "target" not in roles.values():
        raise ResultsError(f"no target task among {', '.join(sorted(roles))}; mark at least one task as target")
    questions = {task: tuple(sorted(q for q, t in task_of.items() if t == task)) for task in sorted(roles)}
    for task, members in questions.items():
        if len(members) < 2:
            raise ResultsError(f"task {task}: question {members[0]} is its only one; at least 2 are needed")
    return questions, {task: roles[task] for task in questions}


def _average(rows: Iterable[ResultRow], questions: int) -> ArmObservations:
    rounds: defaultdict[int, list[ResultRow]] = defaultdict(list)
    for row in rows:
        rounds[row.round].append(row)
    said = {
        number: frozenset((row.question_id, row.completion_sha256) for row in held) for number, held in rounds.items()
    }
    grades: defaultdict[str, list[Fraction]] = defaultdict(list)
    for repeats in _distinct(said, questions):
        same = chain.from_iterable(rounds[number] for number in repeats)
        for question, grade in _grades(same).items():
            grades[question].append(grade)
    flags = [row.truncated for row in chain.from_iterable(rounds.values())]
    return ArmObservations(
        accuracies={question: sum(values, Fraction()) / len(values) for question, values in grades.items()},
        distinct_rounds=max(map(len, grades.values())),
        truncated=sum(flags) / len(flags),
    )


def _distinct(said: Mapping[int, Said], questions: int) -> list[list[int]]:
    """Group rounds into distinct observations: each round that no other contains, with all its repeats."""
    alike: defaultdict[Said, list[int]] = defaultdict(list)
    lone: list[list[int]] = []
    for number, pairs in said.items():
        if 2 * len(pairs) < questions:
            lone.append([number])
        else:
            alike[pairs].append(number)
    whole = [pairs for pairs in alike if not any(pairs < other for other in alike)]
    return lone + [list(chain.from_iterable(alike[part] for part in alike if part <= pairs)) for pairs in whole]


def _grades(rows: Iterable[ResultRow]) -> dict[str, Fraction]:
    """Average the grades of one observation; they differ only if a grader judged the same text in two ways."""
    grades: defaultdict[str, list[bool]] = defaultdict(list)
    for row in rows:
        grades[row.question_id].append(row.correct)
    return {question: Fraction(sum(values), len(values)) for question, values in grades.items()}


def _common_denominator(fractions: Iterable[Fraction]) -> int:
    scale = 1
    for fraction in fractions:
        scale = math.lcm(scale, fraction.denominator)
        if scale > LARGEST_SCALE:
            return LARGEST_SCALE
    return scale


def _place(row: ResultRow) -> str:
    return f"question {row.question_id}, round {row.round}, arm {row.arm}"
