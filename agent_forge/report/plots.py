"""From a run's records to its plots: what is drawn, in which colour, and the sentence that stands for each plot."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent_forge.records import Arm, BakeReport, GateReport, TaskComparison, TraceReport
from agent_forge.report import formats
from agent_forge.report.figures import (
    Mark,
    Plot,
    bars_plot,
    histogram_plot,
    interval_plot,
    loss_plot,
    rounds_plot,
)
from agent_forge.report.measures import ArmSummary, RoundGain
from agent_forge.report.svg import BLUE, GREEN, GREY, ORANGE, PURPLE
from agent_forge.report.tables import Table

ARM_NAMES: dict[Arm, str] = {
    "baseline": "Answering directly",
    "thought": "Thinking first",
    "pause": "Pausing first",
    "baked": "Trained to think",
    "swapped": "Trained, thoughts swapped",
}
# While verifying, two of the arms are the champion's and two the baked model's.
CHECKED_ARM_NAMES: dict[Arm, str] = {
    **ARM_NAMES,
    "baseline": "Original, answering directly",
    "thought": "Original, told to think",
    "baked": "Trained, left to itself",
}
REASONS = {
    "always_solved": "Already solved without thinking",
    "never_solved": "Question never solved",
    "incorrect": "Wrong answer",
    "truncated": "Answer cut off",
    "malformed": "Thought cut off or empty",
    "repetitive": "Thought repeats itself",
    "false_arithmetic": "Thought miscalculates",
    "duplicate": "Same steps as another",
    "surplus": "Enough for this question",
}
_LOOKS: dict[Arm, tuple[str, str]] = {
    "baseline": (BLUE, "o"),
    "thought": (ORANGE, "s"),
    "pause": (GREY, "^"),
    "baked": (GREEN, "D"),
    "swapped": (PURPLE, "v"),
}
KEPT = "Kept"


@dataclass(frozen=True)
class Plots:
    """Every plot of the page; None where there is nothing to draw."""

    arms: Plot | None = None
    rounds: Plot | None = None
    tasks: Plot | None = None
    outcomes: Plot | None = None
    lengths: Plot | None = None
    losses: Plot | None = None
    checked: Plot | None = None


def arms_plot(name: str, arms: Sequence[ArmSummary], names: dict[Arm, str], alpha: float) -> Plot | None:
    """Draw the accuracy of each arm with its interval."""
    if not arms:
        return None
    marks = [Mark(names[arm.arm], arm.accuracy, arm.interval, *_LOOKS[arm.arm]) for arm in arms]
    said = "; ".join(
        f"{mark.name} {formats.percent(mark.value)} ({formats.percent_interval(mark.interval)})" for mark in marks
    )
    level = _level(alpha)
    label = f"Share of correct answers with {level} intervals. {said}."
    caption = f"Share of questions answered correctly. The bar spans the {level} interval."
    lows, highs = zip(*(mark.interval for mark in marks), strict=True)
    far_apart = max(highs) - min(lows) > 0.5
    return interval_plot(name, label, caption, marks, "Correct answers in percent", whole=far_apart)


def gains_plot(gains: Sequence[RoundGain], gate: GateReport) -> Plot | None:
    """Draw what thinking first gained in each round."""
    if not gains:
        return None
    low, high = min(gain.gain for gain in gains), max(gain.gain for gain in gains)
    span = formats.points(low) if low == high else f"{formats.points(low)} to {formats.points(high)}"
    label = f"Gain from thinking first in each of {formats.plural(len(gains), 'round')}: {span}."
    caption = (
        f"Gain from thinking first in each round, with its {_level(gate.alpha)} interval. The dashed line is the "
        f"smallest gain that counts, {formats.threshold(gate.min_improvement)}."
    )
    columns = ("Round", "Questions", "Answering directly", "Thinking first", "Pausing first", "Gain", "Interval")
    rows = tuple(
        (
            f"{gain.round}",
            f"{gain.questions:,}",
            formats.percent(gain.baseline),
            formats.percent(gain.thought),
            formats.percent(gain.pause),
            formats.points(gain.gain),
            formats.points_interval(gain.interval),
        )
        for gain in gains
    )
    table = Table("Accuracy and gain by round", columns, rows)
    drawn = [(gain.round, gain.gain, gain.interval) for gain in gains]
    return rounds_plot(drawn, label, caption, gate.min_improvement, table)


def tasks_plot(tasks: Sequence[TaskComparison], gate: GateReport) -> Plot | None:
    """Draw the difference on each task; a single task has nothing to be compared with."""
    if len(tasks) < 2:
        return None
    marks = [
        Mark(
            f"{task.task} ({task.role})",
            task.difference,
            task.confidence_interval,
            *((ORANGE, "s") if task.role == "target" else (GREY, "^")),
        )
        for task in tasks
    ]
    said = "; ".join(
        f"{mark.name} {formats.points(mark.value)} ({formats.points_interval(mark.interval)})" for mark in marks
    )
    level, margin = _level(gate.alpha), formats.threshold(gate.non_inferiority_margin)
    label = f"Gain from thinking first by task with {level} intervals. {said}."
    caption = (
        f"Gain from thinking first on each task, with its {level} interval. Dashed lines: no difference, and the loss "
        f"that no task may exceed, {margin}."
    )
    return interval_plot("tasks", label, caption, marks, "Gain in points", (0.0, -gate.non_inferiority_margin))


def outcomes_plot(traces: TraceReport) -> Plot | None:
    """Draw what became of the sampled thoughts: kept, or rejected for which reason."""
    if not traces.samples:
        return None
    named = {reason_name(reason): count for reason, count in traces.rejected.items()}
    counts = {KEPT: traces.kept, **dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))}
    said = ", ".join(f"{name.lower()} {count:,}" for name, count in counts.items())
    label = f"What became of {formats.plural(traces.samples, 'sampled thought')}: {said}."
    caption = "Sampled thoughts by what became of them; each rejected one is counted once, under the first reason met."
    return bars_plot("outcomes", label, caption, counts, KEPT, "Sampled thoughts")


def lengths_plot(traces: TraceReport) -> Plot | None:
    """Draw how long the kept thoughts are."""
    lengths = sorted(traces.thought_lengths)
    if not lengths:
        return None
    middle = lengths[len(lengths) // 2]
    label = (
        f"Length of {formats.plural(len(lengths), 'kept thought')}: {lengths[0]:,} to {lengths[-1]:,} tokens, "
        f"median {middle:,}."
    )
    return histogram_plot("lengths", label, "How long the kept thoughts are.", lengths, "Tokens in the thought")


def losses_plot(bake: BakeReport) -> Plot | None:
    """Draw training and held-out loss over the steps."""
    if not bake.curve:
        return None
    label = (
        f"Loss over {formats.plural(bake.steps, 'step')} of training. Held-out loss in nats per token: "
        f"{formats.number(bake.first_heldout_loss, 3)} before, {formats.number(bake.best_heldout_loss, 3)} at step "
        f"{bake.best_step:,}, whose weights were kept."
    )
    caption = "Training loss, and loss on traces held out from training. The dashed line marks the step that was kept."
    return loss_plot(bake.curve, bake.best_step, label, caption)


def reason_name(reason: str) -> str:
    """Return a rejection's name for people; one that is not known here keeps its own."""
    return REASONS.get(reason, reason.replace("_", " ").capitalize())


def _level(alpha: float) -> str:
    return f"{100 * (1 - alpha):g}%"
