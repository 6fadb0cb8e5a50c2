"""The report of an evolution as one HTML page that needs nothing else; the same report gives the same bytes."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from agent_forge.evolution_records import Candidate, EvolutionReport, Gain, GenerationSummary
from agent_forge.report.figures import NARROW, WIDE, Plot
from agent_forge.report.formats import bare, number, percent, points, points_interval, probability
from agent_forge.report.story_page import Ending
from agent_forge.report.svg import BLUE, GREEN, draw
from agent_forge.report.tables import Table
from agent_forge.report.template import environment

_ARMS = {"baseline": "direct answers", "thought": "answers after an elicited thought"}
_WORDS = {"better": "Better", "not_better": "Not better", "inconclusive": "Not settled"}
_KINDS = {"better": "passed", "not_better": "kept", "inconclusive": "undecided"}
_PURPOSES = {
    "evolve": "every merge is scored on them; chooses who is compared in the end",
    "select": "the best merges and all base models; chooses the champion",
    "confirm": "the champion and all base models; chooses nothing, so this is what is claimed",
}
_FAILED = "failed"


def render_evolution(report: EvolutionReport) -> str:
    """Return the page."""
    return (
        environment()
        .get_template("evolution.html.jinja")
        .render(
            report=report,
            title=_title(report),
            outcome=_outcome(report.gain),
            arm=_ARMS[report.fitness_arm],
            curve=_curve(report.generations),
            compared=_compared((*report.base_models, *report.elites), report.winner),
            gains=_gains(report),
            asked=_asked(report),
            recipe=[(name, _told(value)) for name, value in report.winner.recipe.items()],
            warnings=(*report.warnings, *(report.gain.warnings if report.gain else ())),
        )
    )


def _title(report: EvolutionReport) -> str:
    name = report.winner.name
    return name if report.winner.base_model else f"{name} of {len(report.base_models)} base models"


def _outcome(gain: Gain | None) -> Ending:
    if gain is None:
        return Ending("kept", "No merge is better", "The best base model is handed over as it is.")
    return Ending(_KINDS[gain.verdict], _WORDS[gain.verdict], gain.reason)


def _asked(report: EvolutionReport) -> Table:
    rows = tuple((name, number(found.count), _PURPOSES[name]) for name, found in report.questions.items())
    return Table("Which questions were asked", ("Set", "Questions", "What for"), rows, frozenset({0, 2}))


def _curve(generations: Sequence[GenerationSummary]) -> Plot:
    def paint(axes: Axes, narrow: bool) -> None:
        numbers = [one.number for one in generations]
        so_far = [one.best_so_far if one.best_so_far is not None else float("nan") for one in generations]
        mean = [one.mean if one.mean is not None else float("nan") for one in generations]
        axes.plot(numbers, so_far, "s-", color=GREEN, linewidth=2, markersize=6, label="Best so far")
        axes.plot(numbers, mean, "o-", color=BLUE, linewidth=1.6, markersize=5, label="Mean of the generation")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=1 if narrow else 2, borderaxespad=0.2)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5 if narrow else 10))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}"))
        axes.tick_params(length=0)
        axes.set_xlabel("Generation")
        axes.set_ylabel("Score in percent")

    rows = tuple(
        (str(one.number), _share(one.best), _share(one.mean), _share(one.best_so_far), str(one.new))
        for one in generations
    )
    table = Table("Scores by generation", ("Generation", "Best", "Mean", "Best so far", "New merges"), rows)
    return Plot(
        label="Scores of the generations on the questions of the search",
        caption="Generation 0 are the base models. Picking the best of these scores makes it look better than it is.",
        wide=draw("generations-wide", WIDE, 330, lambda axes: paint(axes, False)),
        narrow=draw("generations-narrow", NARROW, 330, lambda axes: paint(axes, True)),
        table=table,
    )


def _compared(candidates: Sequence[Candidate], winner: Candidate) -> Table:
    several = any(one.select and len(one.select.per_task) > 1 for one in candidates)
    ordered = sorted(candidates, key=lambda one: -(one.select.score or 0.0) if one.select else 0.0)
    rows = tuple(
        (
            f"{one.name}{' (champion)' if one.recipe_sha256 == winner.recipe_sha256 else ''}",
            str(one.recipe.get("method", "")) if not one.base_model else "base model",
            _share(one.evolve.score),
            _share(one.select.score if one.select else None),
            *((_by_task(one),) if several else ()),
        )
        for one in ordered
    )
    columns = ("Model", "Method", "In the search", "On select", *(("On select, by task",) if several else ()))
    return Table("Who was compared in the end", columns, rows, frozenset({0, 1, 4}))


def _by_task(one: Candidate) -> str:
    return ", ".join(f"{task} {percent(value)}" for task, value in (one.select.per_task if one.select else {}).items())


def _gains(report: EvolutionReport) -> Table | None:
    if (gain := report.gain) is None:
        return None
    rows = [
        (
            f"{gain.against} (best on select)",
            percent(gain.base_model_accuracy),
            bare(points(gain.difference)),
            bare(points_interval(gain.confidence_interval)),
            bare(probability(gain.p_value)),
            _WORDS[gain.verdict],
        )
    ]
    rows += [
        (
            name,
            percent(one.base_model_accuracy),
            bare(points(one.difference)),
            bare(points_interval(one.confidence_interval)),
            bare(probability(one.p_value)),
            _WORDS[one.verdict],
        )
        for name, one in gain.others.items()
    ]
    columns = (
        "Base model",
        "Its accuracy",
        "Points gained",
        f"{100 * gain.confidence_level:g}% interval",
        "p",
        "Champion is",
    )
    return Table(
        f"The champion against every base model: {percent(gain.champion_accuracy)} of {gain.questions} questions right",
        columns,
        tuple(rows),
        frozenset({0, 5}),
    )


def _told(value: object) -> str:
    """Return a value of a recipe; models by their names, groups of layers as words."""
    if isinstance(value, list):
        groups = any(isinstance(one, dict) and "model" not in one for one in value)
        return ("; " if groups else ", ").join(map(_told, value))
    if not isinstance(value, dict):
        return str(value)
    return str(value["model"]) if "model" in value else " ".join(f"{name} {_told(one)}" for name, one in value.items())


def _share(value: float | None) -> str:
    return _FAILED if value is None else percent(value)
