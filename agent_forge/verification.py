"""Verification: does the baked model, left to itself, deserve publication?

Four arms answer the verify questions, which nothing else has seen:

    baseline  the champion, directly                    baked    the baked model, nothing forced
    thought   the champion, prompted to think           swapped  the baked model after another question's thought

Published only when every check holds: the baked model beats the champion by the gate's own test, no task is worse by
more than the margin, it opens and closes its thoughts itself, and it does worse when its thoughts are swapped for
other questions': were the answers as good, the thoughts would be decoration.
"""

from collections.abc import Iterable, Sequence

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
    rows = list(rows)
    observations = observe(rows, required=("baseline", "thought", "baked", "swapped"))
    comparisons = compare_tasks(task_samples(observations, "baked", "baseline"), criteria)
    gain = pooled_sample(observations, "baked", "baseline")
    swap = pooled_sample(observations, "baked", "swapped")
    swapped_p = sign_flip_p(swap.differences_N)
    baked = [row for row in rows if row.arm == "baked" and row.role == "target"]
    well_formed = sum(row.well_formed and row.thought_tokens > 0 for row in baked) / len(baked)
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
        opened_rate=sum(row.thought_tokens > 0 for row in baked) / len(baked),
        well_formed_rate=well_formed,
        min_well_formed_rate=min_well_formed_rate,
        flips=count_flips(gain),
        truncation={arm: held.truncated for arm, held in observations.arms.items()},
        warnings=observation_warnings(observations),
        per_task=comparisons,
    )


def swap_partners(questions: Sequence[Question]) -> dict[str, Question]:
    """Give every question another one of its task whose thought it gets: the next with a different reference answer.

    The next of its task where all references agree; itself only where it is alone in its task.
    """
    by_task: dict[str, list[Question]] = {}
    for question in questions:
        by_task.setdefault(question.task, []).append(question)
    partners: dict[str, Question] = {}
    for members in by_task.values():
        for place, question in enumerate(members):
            others = members[place + 1 :] + members[:place]
            different = (other for other in others if other.reference != question.reference)
            partners[question.id] = next(different, others[0] if others else question)
    return partners


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
