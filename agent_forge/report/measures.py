"""What the report computes from result rows: accuracy and interval per arm, and the gain of each round.

Accuracies per question come from `agent_forge.observations`, as the gate's do, so repeated rounds count once here
too. Like the gate's own figures these are about the target tasks. They illustrate a verdict and never make one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from agent_forge.observations import Observations, observe
from agent_forge.records import Arm, ResultRow
from agent_forge.statistics import Summary, clopper_pearson, t_interval

Scores = dict[str, Fraction]


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
class Measures:
    """Rows of one experiment with what they say: target rows, scores per arm and question, and summaries."""

    rows: tuple[ResultRow, ...]
    scores: dict[Arm, Scores]
    arms: tuple[ArmSummary, ...]


def measure(rows: Iterable[ResultRow], arms: Sequence[Arm], alpha: float) -> Measures:
    """Summarise the arms that have rows, in the order given, over the target questions.

    Args:
        rows: a paired experiment, in any order.
        arms: every arm that may occur.
        alpha: intervals are two-sided at level 1 - alpha.

    Raises:
        ResultsError: for rows that do not make a paired experiment; see `observe`.
    """
    rows = tuple(rows)
    present = tuple(arm for arm in arms if any(row.arm == arm for row in rows))
    observations = observe(rows, required=present or arms)
    targets = tuple(row for row in rows if row.role == "target")
    scores = {arm: _scores(observations, arm) for arm in present}
    summaries = tuple(_summarise(targets, arm, scores[arm], alpha) for arm in present)
    return Measures(targets, scores, summaries)


def accuracy_interval(scores: Sequence[Fraction], alpha: float) -> tuple[float, float]:
    """Return the two-sided 1 - alpha interval of a mean accuracy, clustered by question, within [0, 1].

    The t interval over questions. Where all questions score the same it would collapse to a point, which n questions
    cannot vouch for: a share of exceptions up to the Clopper-Pearson bound for 0 of n may have gone unseen, each of
    them all wrong or all right. For all wrong and all right that is Clopper and Pearson's own interval. One question
    bounds nothing.
    """
    n = len(scores)
    if n < 2:
        return 0.0, 1.0
    mean = float(sum(scores, Fraction()) / n)
    if len(set(scores)) == 1:
        unseen = clopper_pearson(0, n, alpha)[1]
        return mean - unseen * mean, mean + unseen * (1 - mean)
    low, high = t_interval(Summary(n, mean, float(np.std([float(score) for score in scores], ddof=1))), alpha)
    return max(low, 0.0), min(high, 1.0)


def round_gains(rows: Iterable[ResultRow], alpha: float) -> tuple[RoundGain, ...]:
    """Compare thought with baseline round by round, on the questions both arms answered in it."""
    rounds: dict[int, dict[Arm, dict[str, bool]]] = {}
    for row in rows:
        rounds.setdefault(row.round, {}).setdefault(row.arm, {})[row.question_id] = row.correct
    gains = (_round_gain(number, rounds[number], alpha) for number in sorted(rounds))
    return tuple(gain for gain in gains if gain is not None)


def _scores(observations: Observations, arm: Arm) -> Scores:
    accuracies = observations.arms[arm].accuracies
    return {question: accuracies[question] for question in observations.target_questions}


def _summarise(rows: Sequence[ResultRow], arm: Arm, scores: Scores, alpha: float) -> ArmSummary:
    own = [row for row in rows if row.arm == arm]
    return ArmSummary(
        arm=arm,
        questions=len(scores),
        answers=len(own),
        accuracy=float(sum(scores.values(), Fraction()) / len(scores)),
        interval=accuracy_interval(list(scores.values()), alpha),
        tokens=_mean([row.tokens for row in own]),
        thought_tokens=_mean([row.thought_tokens for row in own]),
        truncated=_mean([row.truncated for row in own]),
    )


def _round_gain(number: int, arms: dict[Arm, dict[str, bool]], alpha: float) -> RoundGain | None:
    baseline, thought, pause = (arms.get(arm, {}) for arm in ("baseline", "thought", "pause"))
    both = [question for question in baseline if question in thought]
    if not both:
        return None
    differences = [int(thought[question]) - int(baseline[question]) for question in both]
    spread = float(np.std(differences, ddof=1)) if len(both) > 1 else 0.0
    gain = _mean(differences)
    return RoundGain(
        round=number,
        questions=len(both),
        baseline=_mean([baseline[question] for question in both]),
        thought=_mean([thought[question] for question in both]),
        pause=_mean(list(pause.values())) if pause else None,
        gain=gain,
        interval=t_interval(Summary(len(both), gain, spread), alpha),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
