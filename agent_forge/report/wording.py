"""The first screen in plain words: the outcome in one sentence, the steps of the run and the key figures."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from agent_forge.records import GateReport, TaskComparison, VerificationReport
from agent_forge.report.facts import RunFacts
from agent_forge.report.formats import bare, percent, plural, points, points_interval
from agent_forge.statistics import MOST_QUESTIONS

OutcomeKind = Literal["published", "passed", "rejected", "kept", "undecided", "stopped", "running"]
StepState = Literal["done", "failed", "skipped", "pending"]

WORDS: dict[OutcomeKind, str] = {
    "published": "Published",
    "passed": "Passed, not published",
    "rejected": "Rejected",
    "kept": "Left as it was",
    "undecided": "Undecided",
    "stopped": "Not published",
    "running": "In progress",
}


@dataclass(frozen=True)
class Outcome:
    """How the run stands, as a word and as a sentence."""

    kind: OutcomeKind
    sentence: str

    @property
    def word(self) -> str:
        """The outcome in a word or two."""
        return WORDS[self.kind]


@dataclass(frozen=True)
class Step:
    """One of the four steps of a run and how it went."""

    name: str
    state: StepState
    note: str


@dataclass(frozen=True)
class Card:
    """One key figure with what it is and what to know about it."""

    label: str
    value: str
    note: str
    unit: str = ""


def outcome(facts: RunFacts) -> Outcome:
    """Say how the run stands in one sentence that needs no statistics to be read."""
    gate = facts.gate
    if gate is None:
        if facts.champion is not None and facts.champion.already_published:
            return Outcome("published", "This model was judged before with the same settings and published then.")
        return Outcome("running", "Whether thinking first makes this model better has not been decided yet.")
    if gate.verdict == "no_bake":
        return Outcome("kept", _no_bake(gate))
    if gate.verdict == "inconclusive":
        return Outcome("undecided", _inconclusive(gate))
    if facts.verification is None:
        return _unverified(facts)
    if facts.verification.verdict == "reject":
        return Outcome(
            "rejected",
            "Thinking first makes this model better, but the model trained to do so by itself failed its final check; "
            "it was not published.",
        )
    return _verified(facts, facts.verification)


def steps(facts: RunFacts) -> tuple[Step, ...]:
    """Return the four steps of a run: measure, train, check, publish."""
    kind = outcome(facts).kind
    if facts.gate is None:
        names = ("Measure", "Train", "Check", "Publish")
        return tuple(Step(name, "pending", "not done yet") for name in names)
    measured = Step("Measure", "done", plural(facts.gate.questions, "question"))
    if facts.gate.verdict != "bake":
        why = "not needed" if facts.gate.verdict == "no_bake" else "not begun"
        return (measured, *(Step(name, "skipped", why) for name in ("Train", "Check", "Publish")))
    ahead: tuple[StepState, str] = ("skipped", "did not happen") if kind == "stopped" else ("pending", "not done yet")
    trained = Step("Train", "done", plural(facts.bake.steps, "step")) if facts.bake else Step("Train", *ahead)
    if facts.verification is None:
        return measured, trained, Step("Check", *ahead), Step("Publish", *ahead)
    if facts.verification.verdict == "reject":
        failed = Step("Check", "failed", plural(len(facts.verification.failed_checks), "failed check"))
        return measured, trained, failed, Step("Publish", "skipped", "withheld")
    checked = Step("Check", "done", plural(facts.verification.questions, "new question"))
    published = Step("Publish", "done", "done") if kind == "published" else Step("Publish", *ahead)
    return measured, trained, checked, published


def cards(facts: RunFacts) -> tuple[Card, ...]:
    """Return the key figures; none before there is a verdict."""
    gate, verification = facts.gate, facts.verification
    if gate is None:
        return ()
    asked = f"of {plural(gate.questions, 'question')} answered correctly"
    likely = f"likely between {bare(points_interval(gate.confidence_interval)).replace(' to ', ' and ')}"
    measured = (
        Card("Answering directly", percent(gate.baseline_accuracy), asked),
        Card("Thinking first", percent(gate.thought_accuracy), asked),
        Card("Difference", bare(points(gate.difference)), likely, "points"),
    )
    if verification is None:
        return (*measured, Card("Trained to think", "None", "no trained model was checked"))
    unseen = (
        f"of {plural(verification.questions, 'new question')}; the original: {percent(verification.champion_accuracy)}"
    )
    return (*measured, Card("Trained to think", percent(verification.baked_accuracy), unseen))


def questions_that_settle(gate: GateReport) -> str:
    """Say how many questions would decide an undecided comparison."""
    if gate.verdict != "inconclusive":
        return "none needed"
    if gate.questions_needed is None:
        return "not known"
    return f"{gate.questions_needed:,}{' or more' if gate.questions_needed >= MOST_QUESTIONS else ''}"


def harmed(gate: GateReport) -> tuple[TaskComparison, ...]:
    """Return the tasks shown to lose more than the margin."""
    return tuple(task for task in gate.per_task if task.confidence_interval[1] < -gate.non_inferiority_margin)


def _no_bake(gate: GateReport) -> str:
    if lost := harmed(gate):
        better = _names(task for task in gate.per_task if task.role == "target" and task.passed)
        but = f"helps on {better} but " if better else ""
        return f"Thinking first {but}makes this model worse on {_names(lost)}, so the model was left as it was."
    return (
        f"Thinking first does not make this model better by enough to matter ({percent(gate.thought_accuracy)} against "
        f"{percent(gate.baseline_accuracy)} correct), so the model was left as it was."
    )


def _names(tasks: Iterable[TaskComparison]) -> str:
    return " and ".join(task.task for task in tasks)


def _inconclusive(gate: GateReport) -> str:
    if gate.questions_needed is None or gate.questions_needed >= MOST_QUESTIONS:
        return "Whether thinking first makes this model better is too close to call, so the model was left as it was."
    improved = any(task.role == "target" and task.passed for task in gate.per_task)
    doubt = (
        "be sure that thinking first does no harm"
        if improved
        else "tell whether thinking first makes this model better"
    )
    return (
        f"The {gate.questions:,} questions asked are too few to {doubt}, so the model was left as it was; about "
        f"{gate.questions_needed:,} should settle it."
    )


def _unverified(facts: RunFacts) -> Outcome:
    if facts.results is None:
        return Outcome("running", "Thinking first makes this model better; it is now being trained to do so by itself.")
    return Outcome(
        "stopped",
        "Thinking first makes this model better, but no model trained to do so by itself was checked, so none was "
        "published.",
    )


def _verified(facts: RunFacts, verification: VerificationReport) -> Outcome:
    found = (
        "Thinking first makes this model better; trained to do so by itself, it answers "
        f"{percent(verification.baked_accuracy)} of new questions correctly instead of "
        f"{percent(verification.champion_accuracy)}"
    )
    published = facts.manifest is not None or (facts.results is not None and facts.results.published)
    if published:
        return Outcome("published", f"{found}, and was published.")
    return Outcome("passed", f"{found}, but has not been published.")
