"""The decision rule: tasks compared one by one, then one verdict, by the same code for real and simulated results.

`agent_forge.gate` says why the rule is what it is; verification and calibration use it unchanged.

    samples = task_samples(observations, "thought", "baseline")
    comparisons = compare_tasks(samples, criteria)
    decide(comparisons, criteria)          # "bake", "no_bake" or "inconclusive"
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil

from agent_forge.looks import ONLY_LOOK, Look
from agent_forge.observations import Observations
from agent_forge.records import Arm, Flips, GateVerdict, TaskComparison, TaskRole
from agent_forge.statistics import (
    MOST_QUESTIONS,
    IntArray,
    Summary,
    holm,
    lower_bound,
    minimum_detectable_effect,
    planning_deviation,
    questions_needed,
    questions_needed_without_spread,
    sign_flip_p,
    summarise,
    t_interval,
)


@dataclass(frozen=True)
class Criteria:
    """What a gain must meet; the configuration fields of the same names, without their validation.

    Every bound and interval is judged at the nominal level that leaves the look its share of alpha, so that what holds
    at one of the looks holds with the stated confidence at all of them: repeated confidence intervals (Jennison and
    Turnbull, JRSS B 51, 1989).
    """

    alpha: float
    min_improvement: float
    non_inferiority_margin: float
    power: float
    look: Look = ONLY_LOOK

    def level(self, tests: int = 1) -> float:
        """Return the nominal level of a one-sided test or bound that is one of several at alpha together."""
        return self.look.level(self.alpha / tests)

    @property
    def interval_alpha(self) -> float:
        """One minus the nominal confidence of a two-sided interval."""
        return 2 * self.look.level(self.alpha / 2)


@dataclass(frozen=True)
class TaskSample:
    """One task's paired differences: integers over `scale`, one per question, and the accuracies of the two arms."""

    task: str
    role: TaskRole
    differences_N: IntArray
    scale: int
    baseline_accuracy: float
    thought_accuracy: float

    @cached_property
    def summary(self) -> Summary:
        """Number of questions, mean and deviation of the differences."""
        return summarise(self.differences_N, self.scale)


def task_samples(observations: Observations, arm: Arm, against: Arm) -> tuple[TaskSample, ...]:
    """Return every task's differences `arm` minus `against`; the accuracies of `against` stand as the baseline's."""
    return tuple(
        _sample(observations, task, observations.roles[task], questions, arm, against)
        for task, questions in observations.questions.items()
    )


def pooled_sample(observations: Observations, arm: Arm, against: Arm) -> TaskSample:
    """Return the differences `arm` minus `against` of all target questions together."""
    return _sample(observations, "all targets", "target", observations.target_questions, arm, against)


def compare_tasks(samples: Sequence[TaskSample], criteria: Criteria) -> tuple[TaskComparison, ...]:
    """Test every task: targets for improvement, adjusted for looks and targets, guards for non-inferiority."""
    p_values = [sign_flip_p(sample.differences_N) for sample in samples]
    targets = [index for index, sample in enumerate(samples) if sample.role == "target"]
    repeated = [criteria.look.repeated_p(p_values[index], criteria.alpha, len(targets)) for index in targets]
    adjusted = dict(zip(targets, holm(repeated), strict=True))
    return tuple(
        _comparison(sample, p_values[index], adjusted.get(index), criteria) for index, sample in enumerate(samples)
    )


def decide(comparisons: Sequence[TaskComparison], criteria: Criteria) -> GateVerdict:
    """Return the verdict that the comparisons support."""
    if accepts(comparisons, criteria):
        return "bake"
    if not has_room(comparisons, criteria) or harmed_tasks(comparisons, criteria):
        return "no_bake"
    return "inconclusive"


def accepts(comparisons: Sequence[TaskComparison], criteria: Criteria) -> bool:
    """Say whether some target task improved while every task is non-inferior."""
    improved = any(task.role == "target" and task.passed for task in comparisons)
    return improved and not doubtful_tasks(comparisons, criteria)


def has_room(comparisons: Sequence[TaskComparison], criteria: Criteria) -> bool:
    """Say whether the interval of some target task still reaches a worthwhile gain."""
    uppers = [task.confidence_interval[1] for task in comparisons if task.role == "target"]
    if criteria.min_improvement == 0:
        return max(uppers) > 0
    return max(uppers) >= criteria.min_improvement


def harmed_tasks(comparisons: Sequence[TaskComparison], criteria: Criteria) -> tuple[TaskComparison, ...]:
    """Return the tasks shown to lose more than the margin."""
    return tuple(task for task in comparisons if task.confidence_interval[1] < -criteria.non_inferiority_margin)


def doubtful_tasks(comparisons: Sequence[TaskComparison], criteria: Criteria) -> tuple[TaskComparison, ...]:
    """Return the tasks that could have lost as much as the margin."""
    return tuple(task for task in comparisons if task.lower_bound <= -criteria.non_inferiority_margin)


def count_flips(sample: TaskSample) -> Flips:
    """Count the questions answered better and worse."""
    return Flips(gained=int((sample.differences_N > 0).sum()), lost=int((sample.differences_N < 0).sum()))


def detectable_effect(samples: Sequence[TaskSample], criteria: Criteria) -> float:
    """Return the smallest true gain of one target task that is found with `power`, at Bonferroni's level."""
    targets = _targets(samples)
    alpha = criteria.level(len(targets))
    return min(
        minimum_detectable_effect(
            planning_deviation(target.summary, alpha),
            target.summary.questions,
            alpha,
            criteria.power,
            criteria.min_improvement,
        )
        for target in targets
    )


def target_questions_needed(samples: Sequence[TaskSample], criteria: Criteria) -> int:
    """Return how many target questions would decide if differences and spreads held, all tasks growing alike.

    Returns:
        More than there are; at most `MOST_QUESTIONS` unless there are more already, which then stands for "more
        than anyone will ask".
    """
    asked = sum(target.summary.questions for target in _targets(samples))
    growth = _cheapest((_growth_to_bake(samples, criteria), _growth_to_no_bake(samples, criteria)))
    needed = MOST_QUESTIONS if growth is None else min(ceil(growth * asked), MOST_QUESTIONS)
    return max(needed, asked + 1)


def _sample(
    observations: Observations, task: str, role: TaskRole, questions: Sequence[str], arm: Arm, against: Arm
) -> TaskSample:
    differences_N, scale = observations.differences(arm, against, questions)
    return TaskSample(
        task=task,
        role=role,
        differences_N=differences_N,
        scale=scale,
        baseline_accuracy=float(observations.accuracy(against, questions)),
        thought_accuracy=float(observations.accuracy(arm, questions)),
    )


def _comparison(sample: TaskSample, p_value: float, adjusted: float | None, criteria: Criteria) -> TaskComparison:
    summary = sample.summary
    bound = lower_bound(summary, criteria.level())
    improved = adjusted is not None and adjusted <= criteria.alpha and summary.mean >= criteria.min_improvement
    return TaskComparison(
        task=sample.task,
        role=sample.role,
        questions=summary.questions,
        baseline_accuracy=sample.baseline_accuracy,
        thought_accuracy=sample.thought_accuracy,
        difference=summary.mean,
        confidence_interval=t_interval(summary, criteria.interval_alpha),
        p_value=p_value,
        adjusted_p_value=adjusted,
        lower_bound=bound,
        passed=improved if sample.role == "target" else bound > -criteria.non_inferiority_margin,
    )


def _targets(samples: Sequence[TaskSample]) -> list[TaskSample]:
    return [sample for sample in samples if sample.role == "target"]


def _growth_to_bake(samples: Sequence[TaskSample], criteria: Criteria) -> Fraction | None:
    """By what factor the tasks must grow for `accepts`; Bonferroni stands for Holm, never promising too much."""
    targets = _targets(samples)
    alpha, margin = criteria.level(len(targets)), criteria.non_inferiority_margin
    return _cheapest(
        _dearest(
            [_growth(target, target.summary.mean, alpha, criteria.power, criteria.min_improvement)]
            + [_growth(sample, sample.summary.mean + margin, criteria.level(), criteria.power) for sample in samples]
        )
        for target in targets
    )


def _growth_to_no_bake(samples: Sequence[TaskSample], criteria: Criteria) -> Fraction | None:
    """By what factor the tasks must grow until no room is left or harm is shown."""
    level, power = criteria.interval_alpha / 2, criteria.power
    worthwhile, harm = criteria.min_improvement, -criteria.non_inferiority_margin
    room = [_growth(target, worthwhile - target.summary.mean, level, power) for target in _targets(samples)]
    harmed = [_growth(sample, harm - sample.summary.mean, level, power) for sample in samples]
    return _cheapest([_dearest(room), *harmed])


def _growth(
    sample: TaskSample, effect: float, alpha: float, power: float, min_improvement: float = 0.0
) -> Fraction | None:
    summary = sample.summary
    if summary.deviation == 0:
        needed = questions_needed_without_spread(effect, summary.mean, alpha) if effect >= min_improvement else None
    else:
        needed = questions_needed(effect, summary.deviation, alpha, power, min_improvement)
    return None if needed is None else Fraction(needed, summary.questions)


def _cheapest(growths: Iterable[Fraction | None]) -> Fraction | None:
    return min((growth for growth in growths if growth is not None), default=None)


def _dearest(growths: Iterable[Fraction | None]) -> Fraction | None:
    known = list(growths)
    return None if None in known else max(growth for growth in known if growth is not None)
