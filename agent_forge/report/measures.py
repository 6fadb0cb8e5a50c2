"""What the report computes from result rows: accuracy and interval per arm, and the gain of each round.

Accuracies per question come from `agent_forge.observations`, as the gate's do, so repeated rounds count once here
too. Like the gate's own figures these are about the target tasks. They illustrate a verdict and never make one.

Rows are gone through and not held: a hundred thousand questions in one round leave some ten megabytes of columns.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from agent_forge.numbered import Numbered
from agent_forge.observations import Observations, observe
from agent_forge.records import Arm, ResultRow
from agent_forge.statistics import Summary, clopper_pearson, t_interval


@dataclass(frozen=True)
class ArmSummary:
    """One arm over the target questions; tokens are means per answer, `truncated` is a share of the answers."""

    arm: Arm
    questions: int
    answers: int
    accuracy: float
    interval: tuple[float, float]
    tokens: float
    thought_tokens: float
    truncated: float


@dataclass(frozen=True)
class RoundGain:
    """One round: accuracies of its arms and the thought arm's gain with its interval, all fractions."""

    round: int
    questions: int
    baseline: float
    thought: float
    pause: float | None
    gain: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class TargetRows(Iterable[ResultRow]):
    """Those of some rows that are of target tasks."""

    all: Iterable[ResultRow]

    def __iter__(self) -> Iterator[ResultRow]:
        """Go through the rows once more."""
        return (row for row in self.all if row.role == "target")


@dataclass(frozen=True)
class Measures:
    """What the rows of one experiment say; `rows` are those of target tasks, read anew at every turn."""

    rows: Iterable[ResultRow]
    observations: Observations
    arms: tuple[ArmSummary, ...]


@dataclass
class _Tally:
    """Sums over the answers of one arm."""

    answers: int = 0
    tokens: int = 0
    thought_tokens: int = 0
    truncated: int = 0

    def add(self, row: ResultRow) -> None:
        self.answers += 1
        self.tokens += row.tokens
        self.thought_tokens += row.thought_tokens
        self.truncated += row.truncated


def measure(rows: Iterable[ResultRow], arms: Sequence[Arm], alpha: float) -> Measures:
    """Summarise the arms that have rows, in the order given, over the target questions.

    Args:
        rows: a paired experiment, in any order; what shows examples of it goes through them again.
        arms: every arm that may occur.
        alpha: intervals are two-sided at level 1 - alpha.

    Raises:
        ResultsError: for rows that do not make a paired experiment; see `observe`.
    """
    tallies = {arm: _Tally() for arm in arms}
    observations = observe(_tallied(rows, tallies), required=(), optional=arms)
    summaries = tuple(_summarise(observations, arm, tallies[arm], alpha) for arm in observations.arms)
    return Measures(TargetRows(rows), observations, summaries)


def _tallied(rows: Iterable[ResultRow], tallies: Mapping[Arm, _Tally]) -> Iterator[ResultRow]:
    for row in rows:
        if row.role == "target" and row.arm in tallies:
            tallies[row.arm].add(row)
        yield row


def accuracy_interval(scores: Iterable[Fraction], alpha: float) -> tuple[float, float]:
    """Return the two-sided 1 - alpha interval of a mean accuracy, clustered by question, within [0, 1].

    The t interval over questions. Where all questions score the same it would collapse to a point, which n questions
    cannot vouch for: a share of exceptions up to the Clopper-Pearson bound for 0 of n may have gone unseen, each of
    them all wrong or all right. For all wrong and all right that is Clopper and Pearson's own interval. One question
    bounds nothing.
    """
    return _counted_interval(Counter(scores), alpha)


def _counted_interval(scores: Mapping[Fraction, int], alpha: float) -> tuple[float, float]:
    """Return the interval of a mean accuracy, given how often each accuracy occurs."""
    n = sum(scores.values())
    if n < 2:
        return 0.0, 1.0
    total = sum((score * count for score, count in scores.items()), Fraction())
    mean = float(total / n)
    if len(scores) == 1:
        unseen = clopper_pearson(0, n, alpha)[1]
        return mean - unseen * mean, mean + unseen * (1 - mean)
    squares = sum((score**2 * count for score, count in scores.items()), Fraction())
    low, high = t_interval(Summary(n, mean, math.sqrt((squares - total**2 / n) / (n - 1))), alpha)
    return max(low, 0.0), min(high, 1.0)


def round_gains(rows: Iterable[ResultRow], alpha: float) -> tuple[RoundGain, ...]:
    """Compare thought with baseline round by round, on the questions both arms answered in it."""
    names, rounds = Numbered(), dict[int, dict[Arm, _Answers]]()
    for row in rows:
        answers = rounds.setdefault(row.round, {}).setdefault(row.arm, _Answers())
        answers.questions.append(names.add(row.question_id))
        answers.correct.append(row.correct)
    gains = (_round_gain(number, rounds[number], len(names), alpha) for number in sorted(rounds))
    return tuple(gain for gain in gains if gain is not None)


@dataclass
class _Answers:
    """One arm's answers in one round, five bytes each: the questions' numbers, and what was correct."""

    questions: "array[int]" = field(default_factory=lambda: array("i"))
    correct: bytearray = field(default_factory=bytearray)

    def by_question(self, questions: int) -> NDArray[np.int8]:
        """Return what was correct by the question's number; -1 where it was not asked."""
        correct_N = np.full(questions, -1, np.int8)
        correct_N[np.frombuffer(self.questions, np.int32)] = np.frombuffer(self.correct, np.int8)
        return correct_N


def _summarise(observations: Observations, arm: Arm, tally: _Tally, alpha: float) -> ArmSummary:
    targets, accuracies = observations.target_questions, observations.arms[arm].accuracies
    counts = np.bincount(accuracies.of(targets), minlength=len(accuracies.different)).tolist()
    scores: Counter[Fraction] = Counter()
    # Rounds that went differently can have the same mean.
    for score, count in zip(accuracies.different, counts, strict=True):
        scores[score] += count
    return ArmSummary(
        arm=arm,
        questions=len(targets),
        answers=tally.answers,
        accuracy=float(observations.accuracy(arm, targets)),
        interval=_counted_interval(+scores, alpha),
        tokens=tally.tokens / tally.answers,
        thought_tokens=tally.thought_tokens / tally.answers,
        truncated=tally.truncated / tally.answers,
    )


def _round_gain(number: int, arms: Mapping[Arm, _Answers], questions: int, alpha: float) -> RoundGain | None:
    baseline, thought, pause = (arms.get(arm, _Answers()) for arm in ("baseline", "thought", "pause"))
    before_N = np.frombuffer(baseline.correct, np.int8)
    after_N = thought.by_question(questions)[np.frombuffer(baseline.questions, np.int32)]
    both_N = after_N >= 0
    before_N, after_N = before_N[both_N], after_N[both_N]
    if not len(before_N):
        return None
    differences_N = after_N.astype(np.int64) - before_N
    spread = float(np.std(differences_N, ddof=1)) if len(before_N) > 1 else 0.0
    gain = _mean(differences_N)
    return RoundGain(
        round=number,
        questions=len(before_N),
        baseline=_mean(before_N),
        thought=_mean(after_N),
        pause=_mean(np.frombuffer(pause.correct, np.int8)) if pause.correct else None,
        gain=gain,
        interval=t_interval(Summary(len(before_N), gain, spread), alpha),
    )


def _mean(values_N: NDArray[np.signedinteger]) -> float:
    return int(values_N.sum(dtype=np.int64)) / len(values_N)
