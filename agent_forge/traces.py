"""From samples to traces: which thoughts are worth training on, and why the others are not.

Every rejected sample is counted under exactly one reason, the first that applies in the order of `Rejection`.

    always_solved   every sample of its question was correct, with a thought and without: nothing to learn there
    never_solved    no sample of its question with a thought was correct
    incorrect       the completion is wrong
    truncated       the completion was cut off
    malformed       the thought was cut off, is empty or holds stray thought tokens
    repetitive      the thought says the same thing over and over
    false_arithmetic  the thought states an equation between numbers that does not hold
    duplicate       another kept trace of the question has the same normalised steps
    surplus         the question has its share of traces already
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Literal, get_args

from agent_forge.records import Trace, TraceReport

Rejection = Literal[
    "always_solved",
    "never_solved",
    "incorrect",
    "truncated",
    "malformed",
    "repetitive",
    "false_arithmetic",
    "duplicate",
    "surplus",
]
REJECTIONS: tuple[Rejection, ...] = get_args(Rejection)

_NUMBER = r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?"
_EQUATION = re.compile(
    rf"\$?({_NUMBER})\s*([+\-*/×÷x−])\s*\$?({_NUMBER})\s*=\s*\$?({_NUMBER})(?![\d.]*\d|\s*[+*/×÷^%(])"
)
# What stands before a match when it is only the tail of a longer expression.
_LONGER = re.compile(r"[\d+\-*/×÷−=^()%]\s*\$?$|[.,]$|(?<![^\W\d])x\s*\$?$")


@dataclass(frozen=True)
class Candidate:
    """One graded sample of a bake question: the trace it would make, and what decides whether it does."""

    trace: Trace
    correct: bool
    truncated: bool
    well_formed: bool


def choose_traces(
    samples: Sequence[Candidate], solved_directly: bool, traces_per_question: int, rejected: "Counter[Rejection]"
) -> list[Trace]:
    """Filter the samples of one question.

    Args:
        samples: all of its samples with a thought.
        solved_directly: whether every sample without a thought was correct.
        traces_per_question: kept at most.
        rejected: counts the others, by why they are not kept.
    """
    kept = []
    for candidate, reason in _judge_question(samples, solved_directly, traces_per_question):
        if reason is None:
            kept.append(candidate.trace)
        else:
            rejected[reason] += 1
    return kept


def in_order(rejected: Mapping[Rejection, int]) -> dict[Rejection, int]:
    """Return the reasons that there were, in the order in which they are asked about."""
    return {reason: count for reason in REJECTIONS if (count := rejected.get(reason, 0))}


def normalised_steps(thought: str) -> tuple[str, ...]:
    """Return a thought's steps without case, spacing, order of lines kept: what makes two thoughts the same."""
    steps = re.split(r"[\n;.]+(?=\s|$|\S)", thought.lower())
    return tuple(step for raw in steps if (step := "".join(raw.split())))


def false_equation(thought: str) -> str | None:
    """Return the first equation `a op b = c` between plain numbers that does not hold, None when all hold.

    Decimal results may be rounded to the digits shown. Longer expressions are not judged.
    """
    for match in _EQUATION.finditer(thought):
        left, operator, right, result = match.groups()
        if _LONGER.search(thought[max(0, match.start() - 8) : match.start()]):
            continue
        if not _holds(left, operator, right, result):
            return match.group().strip()
    return None


def is_repetitive(thought: str, most: float = 0.5, window: int = 4) -> bool:
    """Say whether more than the share `most` of a thought's word windows occurred earlier in it.

    Words are runs of letters or digits and single symbols. Thoughts shorter than four windows are never repetitive.
    """
    words = re.findall(r"\w+|[^\w\s]", thought.lower())
    windows = [tuple(words[first : first + window]) for first in range(len(words) - window + 1)]
    if len(windows) < 4 * window:
        return False
    return 1 - len(set(windows)) / len(windows) > most


def _judge_question(
    samples: Sequence[Candidate], solved_directly: bool, most: int
) -> list[tuple[Candidate, Rejection | None]]:
    if not any(sample.correct for sample in samples):
        return [(sample, "never_solved") for sample in samples]
    if solved_directly and all(sample.correct for sample in samples):
        return [(sample, "always_solved") for sample in samples]
    seen: set[tuple[str, ...]] = set()
    judged: list[tuple[Candidate, Rejection | None]] = []
    for sample in samples:
        reason = _judge_sample(sample)
        steps = normalised_steps(sample.trace.thought)
        if reason is None and steps in seen:
            reason = "duplicate"
        if reason is None and len(seen) >= most:
            reason = "surplus"
        if reason is None:
            seen.add(steps)
        judged.append((sample, reason))
    return judged


def _judge_sample(sample: Candidate) -> Rejection | None:
    thought = sample.trace.thought
    if sample.truncated:
        return "truncated"
    if not sample.correct:
        return "incorrect"
    if not sample.well_formed or not thought.strip():
        return "malformed"
    if is_repetitive(thought):
        return "repetitive"
    return "false_arithmetic" if false_equation(thought) else None


def _holds(left: str, operator: str, right: str, result: str) -> bool:
    a, b, c = (Decimal(number.replace(",", "")) for number in (left, right, result))
    try:
        exact = {"+": a + b, "-": a - b, "−": a - b}.get(operator)
        if exact is None:
            exact = a / b if operator in "/÷" else a * b
    except (DivisionByZero, InvalidOperation, Overflow):
        return False
    exponent = c.as_tuple().exponent
    shown = -exponent if isinstance(exponent, int) else 0
    # Half a unit of the last digit shown, so that 10/3=3.33 holds and 7+8=16 does not.
    return abs(exact - c) <= (Decimal(1).scaleb(-shown) / 2 if operator in "/÷*×x" and shown else Decimal(0))


def add_trace_reports(reports: Sequence[TraceReport]) -> TraceReport:
    """Return the report of several shards together; shards share no question."""
    reasons = sorted({reason for report in reports for reason in report.rejected})
    return TraceReport(
        questions=sum(report.questions for report in reports),
        samples=sum(report.samples for report in reports),
        kept=sum(report.kept for report in reports),
        questions_kept=sum(report.questions_kept for report in reports),
        replay=sum(report.replay for report in reports),
        rejected={reason: sum(report.rejected.get(reason, 0) for report in reports) for reason in reasons},
        thought_lengths=tuple(sorted(length for report in reports for length in report.thought_lengths)),
        solve_rates=tuple(sorted(rate for report in reports for rate in report.solve_rates)),
    )
