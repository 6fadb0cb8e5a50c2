"""Verification: does the baked model, left to itself, deserve publication?

Four arms answer the verify questions, which nothing else has seen:

    baseline  the champion, directly                    baked    the baked model, nothing forced
    thought   the champion, prompted to think           swapped  the baked model after another question's thought

Published only when every check holds: the baked model beats the champion by the gate's own test, no task is worse by
more than the margin, it opens and closes its thoughts itself, and it does worse when its thoughts are swapped for
other questions': were the answers as good, the thoughts would be decoration.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent_forge.comparison import (
    Criteria,
    TaskSample,
    accepts,
    compare_tasks,
    count_flips,
    doubtful_tasks,
    pooled_sample,
    task_samples,
)
from agent_forge.gate import observation_warnings
from agent_forge.observations import observe
from agent_forge.records import Question, ResultRow, TaskComparison, VerificationReport
from agent_forge.statistics import sign_flip_p, t_interval

CHECKS = {
    "improvement": "the baked model is not shown to beat the champion",
    "non_inferiority": "a task could have lost more than the margin",
    "own_thoughts": "it does not open and close its own thoughts often enough",
    "swapped_thoughts": "its answers are as good after other questions' thoughts, so the thoughts are decoration",
}


def verify(rows: Iterable[ResultRow], criteria: Criteria, min_well_formed_rate: float) -> VerificationReport:
    """Judge the rows of the arms baseline, thought, baked and swapped over the verify questions.

    Args:
        rows: in any order, every arm on every question and round.
        criteria: the gate's.
        min_well_formed_rate: share of baked rows that must hold a well-formed thought, in [0, 1].

    Raises:
        ResultsError: for rows that do not make a paired experiment.
    """
    own = OwnThoughts()
    observations = observe(own.counting(rows), required=("baseline", "thought", "baked", "swapped"))
    comparisons = compare_tasks(task_samples(observations, "baked", "baseline"), criteria)
    gain = pooled_sample(observations, "baked", "baseline")
    swap = pooled_sample(observations, "baked", "swapped")
    swapped_p = sign_flip_p(swap.differences_N)
    well_formed = own.well_formed / own.answers
    failed = _failed_checks(comparisons, criteria, swap, swapped_p, well_formed >= min_well_formed_rate)
    thought_accuracy = float(observations.accuracy("thought", observations.target_questions))
    return VerificationReport(
        verdict="reject" if failed else "publish",
        reason=_reason(gain, swap, failed),
        failed_checks=failed,
        questions=gain.summary.questions,
        rounds=observations.rounds,
        effective_rounds=observations.effective_rounds,
        champion_accuracy=gain.baseline_accuracy,
        baked_accuracy=gain.thought_accuracy,
        thought_accuracy=thought_accuracy,
        swapped_accuracy=swap.baseline_accuracy,
        difference=gain.summary.mean,
        confidence_interval=t_interval(gain.summary, criteria.alpha),
        p_value=min(task.adjusted_p_value for task in comparisons if task.adjusted_p_value is not None),
        alpha=criteria.alpha,
        min_improvement=criteria.min_improvement,
        retention=gain.thought_accuracy / thought_accuracy if thought_accuracy else None,
        swapped_difference=swap.summary.mean,
        swapped_p_value=swapped_p,
        opened_rate=own.opened / own.answers,
        well_formed_rate=well_formed,
        min_well_formed_rate=min_well_formed_rate,
        flips=count_flips(gain),
        truncation={arm: held.truncated for arm, held in observations.arms.items()},
        warnings=observation_warnings(observations),
        per_task=comparisons,
    )


@dataclass
class OwnThoughts:
    """How often the baked model opened a thought by itself on the target tasks, and how often that was well-formed."""

    answers: int = 0
    opened: int = 0
    well_formed: int = 0

    def counting(self, rows: Iterable[ResultRow]) -> Iterator[ResultRow]:
        """Pass rows on and count those that are the baked model's."""
        for row in rows:
            if row.arm == "baked" and row.role == "target":
                self.answers += 1
                self.opened += row.thought_tokens > 0
                self.well_formed += row.well_formed and row.thought_tokens > 0
            yield row


def swap_partners(questions: Iterable[Question]) -> NDArray[np.int32]:
    """Give every question another one of its task whose thought it gets: the next with a different reference answer.

    The next of its task where all references agree; itself only where it is alone in its task.

    Returns:
        `partners_N`: by the place of every question, its partner's.
    """
    tasks: dict[str, _Circle] = {}
    for place, question in enumerate(questions):
        tasks.setdefault(question.task, _Circle(question.reference)).add(place, question.reference)
    partners_N = np.empty(sum(len(task.places) for task in tasks.values()), np.int32)
    for task in tasks.values():
        places_N = np.array(task.places, np.int32)
        partners_N[places_N] = places_N[task.partners()]
    return partners_N


@dataclass
class _Circle:
    """One task's questions, the first of which comes after the last; `changes` says after which the reference does."""

    first: str
    last: str = ""
    places: "array[int]" = field(default_factory=lambda: array("i"))
    changes: "array[int]" = field(default_factory=lambda: array("i"))

    def add(self, place: int, reference: str) -> None:
        if self.places and reference != self.last:
            self.changes.append(len(self.places) - 1)
        self.places.append(place)
        self.last = reference

    def partners(self) -> NDArray[np.int64]:
        """Return for each member the one after the next change; the next member where there is no change."""
        members_N, count = np.arange(len(self.places)), len(self.places)
        changes_K = np.array(self.changes, np.int64)
        if self.first != self.last:
            changes_K = np.append(changes_K, count - 1)
        if not len(changes_K):
            return (members_N + 1) % count
        return (changes_K[np.searchsorted(changes_K, members_N) % len(changes_K)] + 1) % count


def _failed_checks(
    comparisons: Sequence[TaskComparison],
    criteria: Criteria,
    swap: TaskSample,
    swapped_p: float,
    thinks: bool,
) -> tuple[str, ...]:
    held = {
        "improvement": any(task.role == "target" and task.passed for task in comparisons),
        "non_inferiority": not doubtful_tasks(comparisons, criteria),
        "own_thoughts": thinks,
        "swapped_thoughts": swapped_p <= criteria.alpha and swap.summary.mean > 0,
    }
    assert (held["improvement"] and held["non_inferiority"]) == accepts(comparisons, criteria)
    return tuple(check for check in CHECKS if not held[check])


def _reason(gain: TaskSample, swap: TaskSample, failed: tuple[str, ...]) -> str:
    found = (
        f"On {gain.summary.questions} unseen questions the baked model, left to itself, answers "
        f"{gain.thought_accuracy:.1%} right, the champion {gain.baseline_accuracy:.1%}; with its thoughts swapped it "
        f"answers {swap.baseline_accuracy:.1%} right"
    )
    if not failed:
        return f"{found}. Every check holds: publish."
    return f"{found}. Rejected: {'; '.join(CHECKS[check] for check in failed)}."
