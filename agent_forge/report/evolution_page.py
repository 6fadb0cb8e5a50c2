"""The report of an evolution as one HTML page that needs nothing else; the same report gives the same bytes."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from agent_forge.evolution_records import Candidate, EvolutionReport, GenerationSummary
from agent_forge.report.figures import NARROW, WIDE, Plot
from agent_forge.report.formats import percent, points, points_interval, probability
from agent_forge.report.svg import BLUE, GREEN, draw
from agent_forge.report.tables import Table
from agent_forge.report.template import environment

_ARMS = {"baseline": "direct answers", "thought": "answers after an elicited thought"}
_WORDS = {"better": "Better", "not_better": "Not better", "inconclusive": "Not settled"}
_KINDS = {"better": "passed", "not_better": "kept", "inconclusive": "undecided"}
_FAILED = "failed"


def render_evolution(report: EvolutionReport) -> str:
    """Return the page."""
    return (
        environment()
        .get_template("evolution.html.jinja")
        .render(
            report=report,
            word=_WORDS[report.gain.verdict] if report.gain else "No merge is better",
            sentence=report.gain.reason if report.gain else "The best base model is handed over as it is.",
            kind=_KINDS[report.gain.verdict] if report.gain else "kept",
            arm=_ARMS[report.fitness_arm],
            curve=_curve(report.generations),
            compared=_compared((*report.base_models, *report.elites), report.winner),
            gains=_gains(report),
            recipe=[(name, _told(value)) for name, value in report.winner.recipe.items()],
            warnings=(*report.warnings, *(report.gain.warnings if report.gain else ())),
        )
    )


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
    ordered = sorted(candidates, key=lambda one: -(one.select.score or 0.0) if one.select else 0.0)
    rows = tuple(
        (
            f"{one.name}{' (champion)' if one.recipe_sha256 == winner.recipe_sha256 else ''}",
            str(one.recipe.get("method", "")) if not one.base_model else "base model",
            _share(one.evolve.score),
            _share(one.select.score if one.select else None),
            ", ".join(
                f"{task} {percent(value)}" for task, value in (one.select.per_task if one.select else {}).items()
            ),
        )
        for one in ordered
    )
    columns = ("Model", "Method", "In the search", "On select", "On select, by task")
    return Table("Who was compared in the end", columns, rows, frozenset({0, 1, 4}))


def _gains(report: EvolutionReport) -> Table | None:
    if (gain := report.gain) is None:
        return None
    low_high = points_interval(gain.confidence_interval)
    rows = [
        (
            f"{gain.against} (best on select)",
            percent(gain.base_model_accuracy),
            points(gain.difference),
            low_high,
            probability(gain.p_value),
            _WORDS[gain.verdict],
        )
    ]
    rows += [
        (
            name,
            percent(one.base_model_accuracy),
            points(one.difference),
            points_interval(one.confidence_interval),
            probability(one.p_value),
            _WORDS[one.verdict],
        )
        for name, one in gain.others.items()
    ]
    columns = ("Base model", "Its accuracy", "Points gained", "Interval", "p", "Champion is")
    return Table(
        f"The champion against every base model: {percent(gain.champion_accuracy)} of {gain.questions} questions right",
        columns,
        tuple(rows),
        frozenset({0, 5}),
    )


def _told(value: object) -> str:
    """Return a value of a recipe; models by their names."""
    if isinstance(value, dict) and "model" in value:
        return str(value["model"])
    if isinstance(value, list):
        return ", ".join(map(_told, value))
    return str(value)


def _share(value: float | None) -> str:
    return _FAILED if value is None else percent(value)
