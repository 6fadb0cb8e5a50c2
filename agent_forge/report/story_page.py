"""The page of a whole story: what the evolution gained, what the bake gained, and both together.

One page for who decides, in HTML and in Markdown; the reports of evolution and bake have the details.
"""

from dataclasses import dataclass

from agent_forge.report import formats
from agent_forge.report.figures import Mark, Plot, interval_plot
from agent_forge.report.redact import masked_text
from agent_forge.report.svg import BLUE, GREEN, ORANGE
from agent_forge.report.tables import Table
from agent_forge.report.template import environment
from agent_forge.story_records import Story

_COLUMNS = ("Step", "Before", "After", "Points gained", "Interval", "p", "Questions")


@dataclass(frozen=True)
class Step:
    """One gain: of what over what, as fractions, and how it was measured."""

    name: str
    meaning: str
    before: float
    after: float
    difference: float
    interval: tuple[float, float]
    p_value: float
    questions: int
    colour: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The step as a row of the table."""
        return (
            self.name,
            formats.percent(self.before),
            formats.percent(self.after),
            formats.bare(formats.points(self.difference)),
            formats.bare(formats.points_interval(self.interval)),
            formats.bare(formats.probability(self.p_value)),
            formats.number(self.questions),
        )


@dataclass(frozen=True)
class Ending:
    """How the story ended: a word, a sentence, and what kind of banner they stand in."""

    kind: str
    word: str
    sentence: str


def page(story: Story) -> str:
    """Return the HTML page; the same story gives the same bytes."""
    told = steps(story)
    return (
        environment()
        .get_template("story.html.jinja")
        .render(
            story=story,
            outcome=ending(story),
            steps=told,
            table=_table(told),
            plot=_plot(told),
            curve=_curve(story),
            not_a_sum=NOT_A_SUM,
        )
    )


def markdown(story: Story) -> str:
    """Return the same in Markdown."""
    found, told = ending(story), steps(story)
    lines = [f"# {found.word}", "", found.sentence, ""]
    if told:
        lines += [f"| {' | '.join(_COLUMNS)} |", f"|{' --- |' * len(_COLUMNS)}"]
        lines += [f"| {' | '.join(step.cells)} |" for step in told]
        lines += ["", *(f"- {step.name}: {step.meaning}" for step in told), "", NOT_A_SUM, ""]
    lines += [f"- champion: {story.evolution.winner.name}, digest `{story.evolution.champion_digest}`"]
    lines += [f"- evolution: {story.evolution.gain.reason}"] if story.evolution.gain else []
    lines += [f"- bake: {story.bake.reason}"]
    lines += [f"- published: `{story.bake.manifest_path}`"] if story.bake.manifest_path else []
    warnings = (*story.evolution.warnings, *(story.verification.warnings if story.verification else ()))
    return masked_text("\n".join([*lines, *(f"- keep in mind: {text}" for text in warnings), ""]))


NOT_A_SUM = (
    "The gains are no sum: they were measured on different questions, and what is told to think answers otherwise than "
    "what is not."
)


def ending(story: Story) -> Ending:
    """Return how the story ended."""
    gain, bake = story.evolution.gain, story.bake
    better = gain is not None and gain.verdict == "better"
    evolved = "The evolved champion beats the best base model" if better else "No merge was shown to be better"
    if bake.published and story.total:
        total = formats.points(story.total.told_to_think.difference)
        return Ending(
            "published" if better else "undecided",
            "Evolved, baked and published" if better else "Baked and published",
            f"{evolved}. The published model, left to itself, beats the best base model even when that is told to "
            f"think, by {total}."
            if story.total.told_to_think.verdict == "better"
            else f"{evolved}. The published model is not shown to beat the best base model when that is told to think "
            f"({total}).",
        )
    if bake.published:
        return Ending("published", "Published before", f"{evolved}. Another run has published this bake.")
    return Ending("kept", "Nothing published", f"{evolved}. Its bake ended with {bake.verdict}: {bake.reason}")


def steps(story: Story) -> list[Step]:
    """Return the gains that were measured, in the order of the story."""
    found: list[Step] = []
    arm = "told to think" if story.evolution.fitness_arm == "thought" else "answering directly"
    if gain := story.evolution.gain:
        meaning = f"the champion against {gain.against}, the base model that did best when one was chosen, both {arm}"
        means = (gain.base_model_accuracy, gain.champion_accuracy, gain.difference)
        found.append(Step("Evolution", meaning, *means, gain.confidence_interval, gain.p_value, gain.questions, BLUE))
    if check := story.verification:
        meaning = "the baked model, left to itself, against the champion, answering directly"
        means = (check.champion_accuracy, check.baked_accuracy, check.difference)
        found.append(Step("Bake", meaning, *means, check.confidence_interval, check.p_value, check.questions, ORANGE))
    if total := story.total:
        for name, gain, how in (
            ("Total", total.directly, "answering directly"),
            ("Total, told to think", total.told_to_think, "told to think, as the bake's own comparison does it"),
        ):
            meaning = f"the baked model, left to itself, against {total.base_model}, {how}"
            means = (gain.base_model_accuracy, gain.champion_accuracy, gain.difference)
            found.append(Step(name, meaning, *means, gain.confidence_interval, gain.p_value, gain.questions, GREEN))
    return found


def _table(told: list[Step]) -> Table:
    return Table("What each step has gained", _COLUMNS, tuple(step.cells for step in told))


def _plot(told: list[Step]) -> Plot | None:
    if not told:
        return None
    marks = [Mark(step.name, step.difference, step.interval, step.colour, "o") for step in told]
    said = "; ".join(f"{step.name} {formats.points(step.difference)}" for step in told)
    caption = "Points gained on unseen questions, each with its interval. The dashed line is no gain."
    return interval_plot("gains", f"Gain of each step. {said}.", caption, marks, "Points gained", lines=(0.0,))


def _curve(story: Story) -> Table:
    columns = ("Generation", "Best", "Mean", "Best so far", "New merges")
    rows = tuple(
        (
            "base models" if one.number == 0 else f"{one.number}",
            formats.percent(one.best),
            formats.percent(one.mean),
            formats.percent(one.best_so_far),
            f"{one.new}",
        )
        for one in story.evolution.generations
    )
    return Table("Scores of the search", columns, rows)
