"""The gate: does thinking first make this champion better, by enough, and without harm elsewhere?

    report = judge(rows, alpha=0.05, min_improvement=0.02, non_inferiority_margin=0.05, power=0.8)
    report.verdict        # "bake", "no_bake" or "inconclusive"

The question is the unit: every question is averaged over its distinct rounds in each arm, and the paired differences
are tested. Asking the same questions again sharpens each difference but adds no questions. Repeating identical rounds,
as greedy decoding does, changes nothing: two rounds of an arm are one observation when every question's completion has
the same hash in both, and repeats are averaged away before anything else. Hashes are compared round by round and not
question by question, because short answers to single questions coincide by chance; dropping those would thin out
whichever answer an arm gives most often and so bias its accuracy (`agent_forge.observations` does this).

A wrong `bake` is the worst outcome, so all of this must hold for it:

- one target task improved: its sign-flip p, adjusted by Holm over the target tasks, is at most alpha, and its observed
  gain is at least `min_improvement`;
- no task is harmed: the one-sided lower bound of every target and guard task lies above minus
  `non_inferiority_margin`. These are joined by "and", so they need no adjustment (Berger, Technometrics 24, 1982).
  For the improved task itself that is rarely more than its p says, but it keeps a handful of questions from deciding.

`no_bake` is a finding too, never just the lack of one. It needs either of:

- no room for a worthwhile gain: in every target task the upper end of the interval lies below `min_improvement` (at
  most 0 when that is 0);
- harm shown: in some task the upper end of the interval lies below minus `non_inferiority_margin`.

The two exclude each other: an improved task has its upper end above `min_improvement`, and the lower bound of a harmed
task is not above minus the margin. Everything between is `inconclusive`: a gain that could still be worthwhile, one
that is significant but not surely large enough, or one that a task with too few questions cannot vouch for.
`questions_needed` then says how large the target tasks would have to be, all tasks growing alike, for one of the two
findings to be reached with the given power, should the observed differences and spreads hold.

The questions may be looked at several times while they come in (`agent_forge.looks`), to end at the first look that
reaches a finding. Everything above then has to hold at the look's nominal level: p-values are adjusted for the looks
before Holm, and bounds and intervals are those that hold at all looks together, so `bake`, a bound on harm and
`no_bake` each keep the error rate of a single judgement. Only the last look can end without a finding.

Reports are deterministic: sums are sums of integers, so neither the order of rows nor the names of rounds show.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

from agent_forge.comparison import (
    Criteria,
    TaskSample,
    accepts,
    compare_tasks,
    count_flips,
    decide,
    detectable_effect,
    doubtful_tasks,
    harmed_tasks,
    has_room,
    pooled_sample,
    target_questions_needed,
    task_samples,
)
from agent_forge.errors import ResultsError
from agent_forge.looks import ONLY_LOOK, Look, boundaries, levels, spent
from agent_forge.observations import Observations, observe
from agent_forge.records import GateReport, GateVerdict, LooksRecord, PlannedLook, ResultRow, TaskComparison
from agent_forge.statistics import MOST_QUESTIONS, sign_flip_p, t_interval

# Arms cut off unequally often are not compared fairly; with fewer flips than this p-values are coarse.
TRUNCATION_GAP = 0.02
FEW_FLIPS = 10


def judge(
    rows: Iterable[ResultRow],
    alpha: float,
    min_improvement: float,
    non_inferiority_margin: float,
    power: float,
    planned: Sequence[int] = (),
) -> GateReport:
    """Judge graded completions of the arms baseline, thought and, if there, pause.

    Args:
        rows: in any order; questions may have different numbers of rounds, but every arm must have answered every
            question in every round that holds it. Truncated completions count as they were graded.
        alpha: rate of false bakes accepted, in (0, 0.5).
        min_improvement: smallest gain in accuracy worth baking for, in [0, 1).
        non_inferiority_margin: loss in accuracy that no task may exceed, in (0, 1).
        power: probability behind `questions_needed` and `minimum_detectable_effect`, in (0, 1).
        planned: how many questions of each task are in at every planned look, ascending; which look this is follows
            from the rows. Empty: the questions are looked at once.

    Returns:
        The verdict and its figures; top-level figures pool the questions of all target tasks, except `p_value`, the
        smallest adjusted p of a target task, and `truncation`, which covers all rows.

    Raises:
        ResultsError: for rows that do not make a paired experiment, see `observe`, or that are of no planned look.
    """
    observations = observe(rows, required=("baseline", "thought"), optional=("pause",))
    criteria = Criteria(alpha, min_improvement, non_inferiority_margin, power, _look(observations, planned))
    samples = task_samples(observations, "thought", "baseline")
    return _report(observations, samples, compare_tasks(samples, criteria), criteria)


def _look(observations: Observations, planned: Sequence[int]) -> Look:
    """Find out by the number of questions which look this is."""
    if not planned:
        return ONLY_LOOK
    for task, questions in observations.questions.items():
        if len(questions) not in planned:
            looks = ", ".join(map(str, planned))
            raise ResultsError(f"task {task}: {len(questions)} questions are in, but looks are planned at {looks}")
    counts = {len(questions) for questions in observations.questions.values()}
    if len(counts) > 1:
        raise ResultsError(f"tasks have {' and '.join(map(str, sorted(counts)))} questions; at a look all have as many")
    return Look(planned.index(counts.pop()) + 1, tuple(planned))


def _report(
    observations: Observations,
    samples: Sequence[TaskSample],
    comparisons: tuple[TaskComparison, ...],
    criteria: Criteria,
) -> GateReport:
    pooled = pooled_sample(observations, "thought", "baseline")
    pause = pooled_sample(observations, "thought", "pause") if "pause" in observations.arms else None
    pause_p_value = sign_flip_p(pause.differences_N) if pause else None
    verdict = decide(comparisons, criteria)
    open_end = verdict == "inconclusive" and criteria.look.last
    needed = target_questions_needed(samples, criteria) if open_end else None
    return GateReport(
        verdict=verdict,
        reason=_reason(verdict, pooled, comparisons, criteria, needed),
        questions=pooled.summary.questions,
        rounds=observations.rounds,
        effective_rounds=observations.effective_rounds,
        baseline_accuracy=pooled.baseline_accuracy,
        thought_accuracy=pooled.thought_accuracy,
        pause_accuracy=pause.baseline_accuracy if pause else None,
        difference=pooled.summary.mean,
        confidence_interval=t_interval(pooled.summary, criteria.interval_alpha),
        confidence_level=1 - criteria.alpha,
        p_value=_p_value(comparisons),
        alpha=criteria.alpha,
        min_improvement=criteria.min_improvement,
        non_inferiority_margin=criteria.non_inferiority_margin,
        minimum_detectable_effect=detectable_effect(samples, criteria),
        power=criteria.power,
        questions_needed=needed,
        flips=count_flips(pooled),
        thought_minus_pause=pause.summary.mean if pause else None,
        pause_p_value=pause_p_value,
        truncation={arm: held.truncated for arm, held in observations.arms.items()},
        warnings=(
            *observation_warnings(observations),
            *_bake_warnings(verdict, pooled, pause_p_value, criteria.alpha),
        ),
        per_task=comparisons,
        looks=_looks_record(criteria),
    )


def _looks_record(criteria: Criteria) -> LooksRecord | None:
    look, alpha = criteria.look, criteria.alpha
    if look == ONLY_LOOK:
        return None
    bounds = zip(look.questions, levels(look.fractions, alpha), boundaries(look.fractions, alpha), strict=True)
    planned = (
        PlannedLook(questions=count, level=level, boundary=bound, spent=spent(alpha, count / look.questions[-1]))
        for count, level, bound in bounds
    )
    return LooksRecord(planned=tuple(planned), taken=look.number)


def observation_warnings(observations: Observations) -> tuple[str, ...]:
    """Return what a reader must know about how the rows came about: repeats, uneven rounds, unequal truncation."""
    warnings = []
    if observations.effective_rounds < observations.rounds:
        fewest = observations.effective_rounds
        repeating = [name for name, arm in observations.arms.items() if arm.distinct_rounds == fewest]
        warnings.append(
            f"{observations.rounds} rounds are only {fewest} distinct in {' and '.join(repeating)}: repeated "
            "completions, as from greedy decoding or a model that is always sure, count once and add no evidence"
        )
    if observations.small_rounds:
        warnings.append(
            f"rounds with fewer than half of the questions: {observations.small_rounds}; repeats among them cannot be "
            "told from chance and effective_rounds may be too high"
        )
    for (one, held), (other, others) in combinations(observations.arms.items(), 2):
        # Rounded: 0.05 - 0.03 is a little more than 0.02 in floating point, and two points are not yet too many.
        if round(abs(held.truncated - others.truncated), 9) > TRUNCATION_GAP:
            warnings.append(
                f"{held.truncated:.1%} of the {one} arm was cut off but {others.truncated:.1%} of the {other} arm: "
                "part of the difference may be the length limit; raise max_answer_tokens"
            )
    return tuple(warnings)


def _bake_warnings(
    verdict: GateVerdict, pooled: TaskSample, pause_p_value: float | None, alpha: float
) -> tuple[str, ...]:
    if verdict != "bake":
        return ()
    warnings = []
    if pause_p_value is not None and pause_p_value > alpha:
        warnings.append(
            f"the thought arm does not beat the pause arm (p {pause_p_value:.3f}): the gain may come from extra "
            "computation and not from what the thought says; verification's swapped thoughts settle it"
        )
    flips = count_flips(pooled)
    if flips.gained + flips.lost < FEW_FLIPS:
        warnings.append(f"only {flips.gained + flips.lost} questions were answered differently: the evidence is thin")
    return tuple(warnings)


def _p_value(comparisons: Sequence[TaskComparison]) -> float:
    return min(task.adjusted_p_value for task in comparisons if task.adjusted_p_value is not None)


def _reason(
    verdict: GateVerdict,
    pooled: TaskSample,
    comparisons: Sequence[TaskComparison],
    criteria: Criteria,
    needed: int | None,
) -> str:
    """Say in one sentence what was found and what follows from it."""
    low, high = t_interval(pooled.summary, criteria.interval_alpha)
    look = criteria.look
    when = "" if look == ONLY_LOOK else f"At look {look.number} of {len(look.questions)}: "
    found = (
        f"{when}Thinking first answered {pooled.thought_accuracy:.1%} of {pooled.summary.questions} questions "
        f"correctly, without it {pooled.baseline_accuracy:.1%}: {100 * pooled.summary.mean:+.1f} points "
        f"({100 * (1 - criteria.alpha):g}% interval {100 * low:+.1f} to {100 * high:+.1f}, "
        f"p = {_p_value(comparisons):.2g})"
    )
    if verdict != "inconclusive":
        return f"{found}, {_finding(comparisons, criteria)}."
    if needed is None:
        after = look.questions[look.number]
        return f"{found}, {_doubt(comparisons, criteria)}; the next look is after {after:,} questions of each task."
    return f"{found}, {_doubt(comparisons, criteria)}; {_outlook(needed, pooled.summary.questions)}."


def _finding(comparisons: Sequence[TaskComparison], criteria: Criteria) -> str:
    margin = _points(criteria.non_inferiority_margin)
    if accepts(comparisons, criteria):
        improved = _names(task for task in comparisons if task.role == "target" and task.passed)
        return f"a significant and worthwhile gain on {improved}, and no task lost {margin} or more"
    if has_room(comparisons, criteria):
        return f"but {_names(harmed_tasks(comparisons, criteria))} lost more than the {margin} allowed"
    return f"which leaves no room for a gain of {_points(criteria.min_improvement)}"


def _doubt(comparisons: Sequence[TaskComparison], criteria: Criteria) -> str:
    improved = [task for task in comparisons if task.role == "target" and task.passed]
    if improved:
        doubtful = _names(doubtful_tasks(comparisons, criteria))
        return (
            f"a significant and worthwhile gain on {_names(improved)}, but {doubtful} could still have lost "
            f"{_points(criteria.non_inferiority_margin)}"
        )
    return f"which does not settle whether there is a gain of {_points(criteria.min_improvement)} or more"


def _outlook(needed: int, asked: int) -> str:
    if needed >= MOST_QUESTIONS:
        return f"the gain is so close to the limit that {MOST_QUESTIONS:,} questions might not settle it"
    more = f"{needed - asked:,} more question{'s' if needed - asked > 1 else ''}"
    return f"about {more} ({needed:,} in all) would, should these differences hold"


def _names(tasks: Iterable[TaskComparison]) -> str:
    return " and ".join(task.task for task in tasks)


def _points(fraction: float) -> str:
    return f"{100 * fraction:g} points" if fraction else "any size"
