"""The report's plots: each drawn wide and narrow, with a text alternative and the table of its data.

Nothing is told by colour alone: marks differ in shape, bars and rows carry their names, and every value that is drawn
stands in the table.
"""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from agent_forge.records import LossPoint
from agent_forge.report import formats
from agent_forge.report.redact import masked_text
from agent_forge.report.svg import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, draw, printable
from agent_forge.report.tables import Table

WIDE, NARROW = 820, 340
# Error bars of more rounds than this run into each other.
MOST_ERROR_BARS = 40
MOST_CURVE_POINTS = 300
MOST_TABLE_ROWS = 60
MOST_HISTOGRAM_BINS = 24


@dataclass(frozen=True)
class Plot:
    """One plot: `label` says what it shows to who cannot see it, `caption` how to read it."""

    label: str
    caption: str
    wide: Markup
    narrow: Markup
    table: Table | None


@dataclass(frozen=True)
class Mark:
    """One estimate with its interval, as fractions, and how to draw it."""

    name: str
    value: float
    interval: tuple[float, float]
    colour: str
    shape: str


def interval_plot(
    name: str,
    label: str,
    caption: str,
    marks: Sequence[Mark],
    axis: str,
    lines: Sequence[float] = (),
    whole: bool = False,
) -> Plot:
    """Draw estimates with their intervals, one below the other.

    Args:
        name: unique in the page.
        label: text alternative.
        caption: how to read it.
        marks: from top to bottom; what is not finite is left out.
        axis: what the horizontal axis measures, in percent.
        lines: values marked by dashed vertical lines.
        whole: whether the axis runs from 0 to 100 percent, however little of it the marks need.
    """

    def paint(axes: Axes, narrow: bool) -> None:
        for row, mark in enumerate(marks):
            _interval(axes, row, mark, formats.signed(100 * mark.value) if lines else f"{100 * mark.value:.1f}")
        for line in lines:
            axes.axvline(line, color=MUTED, linewidth=1.2, linestyle=(0, (5, 4)), zorder=1)
        names = [_wrapped(mark.name, 15 if narrow else 32) for mark in marks]
        axes.set_yticks(range(len(marks)), labels=names, parse_math=False)
        axes.set_ylim(len(marks) - 0.5, -0.75)
        axes.tick_params(axis="y", length=0, pad=10)
        axes.margins(x=0.08)
        if whole:
            axes.set_xlim(-0.02, 1.02)
        _percent_axis(axes, axis)

    return _plot(name, label, caption, 60 + 52 * len(marks), paint, None)


def rounds_plot(
    gains: Sequence[tuple[int, float, tuple[float, float]]], label: str, caption: str, line: float, table: Table
) -> Plot:
    """Draw the gain of each round (round, gain, interval; fractions) with zero and one dashed line at `line`."""
    numbers_R = [number for number, _, _ in gains]
    values_R = 100 * np.array([gain for _, gain, _ in gains])
    bounds_R2 = 100 * np.array([interval for _, _, interval in gains])

    def paint(axes: Axes, narrow: bool) -> None:
        axes.axhline(0, color=MUTED, linewidth=1)
        axes.axhline(100 * line, color=MUTED, linewidth=1.2, linestyle=(0, (5, 4)))
        reach = None if len(gains) > MOST_ERROR_BARS else np.abs(bounds_R2.T - values_R)
        axes.errorbar(
            numbers_R, values_R, yerr=reach, fmt="s", color=ORANGE, markersize=8, elinewidth=2, markeredgewidth=0
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8 if narrow else 16, min_n_ticks=1))
        axes.margins(x=0.5 / max(len(gains), 1))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.set_xlabel("Round")
        axes.set_ylabel("Gain in points" if narrow else "Gain in percentage points")
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)

    return _plot("rounds", label, caption, 280, paint, table)


def bars_plot(name: str, label: str, caption: str, counts: Mapping[str, int], highlight: str, axis: str) -> Plot:
    """Draw counts as horizontal bars in the order given; the bar named `highlight` stands out."""

    def paint(axes: Axes, narrow: bool) -> None:
        colours = [GREEN if key == highlight else BLUE for key in counts]
        axes.barh(range(len(counts)), list(counts.values()), height=0.62, color=colours)
        for row, count in enumerate(counts.values()):
            axes.annotate(f"{count:,}", (count, row), (6, 0), textcoords="offset points", va="center", color=INK)
        names = [_wrapped(key, 18 if narrow else 40) for key in counts]
        axes.set_yticks(range(len(counts)), labels=names, parse_math=False)
        axes.invert_yaxis()
        axes.tick_params(length=0)
        axes.margins(x=0.22 if narrow else 0.1, y=0.02)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=3 if narrow else 8))
        axes.set_xlabel(axis)

    total = sum(counts.values())
    rows = tuple(
        (key, f"{count:,}", formats.percent(count / total if total else None)) for key, count in counts.items()
    )
    table = Table(axis, ("Outcome", "Count", "Share"), rows)
    return _plot(name, label, caption, 60 + 36 * len(counts), paint, table)


def histogram_plot(name: str, label: str, caption: str, values: Sequence[int], axis: str) -> Plot:
    """Draw the distribution of whole numbers in bins of equal, whole width."""
    low, high = min(values), max(values)
    width = max(1, math.ceil((high - low + 1) / MOST_HISTOGRAM_BINS))
    edges_B = np.arange(low, high + width + 1, width)
    counts_B, _ = np.histogram(values, bins=edges_B)

    def paint(axes: Axes, narrow: bool) -> None:
        axes.bar(edges_B[:-1] - 0.5, counts_B, width=width, align="edge", color=ORANGE, edgecolor=PAPER, linewidth=1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6 if narrow else 12))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        axes.set_xlabel(axis)
        axes.set_ylabel("Traces")

    rows = tuple(
        (f"{start:,}" if width == 1 else f"{start:,} to {start + width - 1:,}", f"{count:,}")
        for start, count in zip(edges_B.tolist(), counts_B.tolist(), strict=False)
    )
    return _plot(name, label, caption, 250, paint, Table("Kept thoughts by length", (axis, "Traces"), rows))


def loss_plot(curve: Sequence[LossPoint], best_step: int, label: str, caption: str) -> Plot:
    """Draw the losses over the steps; more than a few hundred training losses are averaged in runs of equal length."""
    trained = _thinned([(point.step, point.loss) for point in curve if _known(point.loss)])
    heldout = [(point.step, point.heldout_loss) for point in curve if _known(point.heldout_loss)]

    def paint(axes: Axes, narrow: bool) -> None:
        if trained:
            axes.plot(*zip(*trained, strict=True), color=BLUE, linewidth=1.6, label="Training loss")
        if heldout:
            axes.plot(*zip(*heldout, strict=True), "s-", color=ORANGE, linewidth=2, markersize=6, label="Held-out loss")
        axes.axvline(best_step, color=MUTED, linewidth=1.2, linestyle=(0, (5, 4)), label="Step that was kept")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=1 if narrow else 3, borderaxespad=0.2)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5 if narrow else 10))
        axes.tick_params(length=0)
        axes.set_xlabel("Step")
        axes.set_ylabel("Loss in nats per token")

    return _plot("loss", label, caption, 330, paint, _loss_table(curve))


def _plot(
    name: str, label: str, caption: str, height: int, paint: Callable[[Axes, bool], None], table: Table | None
) -> Plot:
    wide = draw(f"{name}-wide", WIDE, height, lambda axes: paint(axes, False))
    narrow = draw(f"{name}-narrow", NARROW, height, lambda axes: paint(axes, True))
    return Plot(label, caption, wide, narrow, table)


def _interval(axes: Axes, row: int, mark: Mark, text: str) -> None:
    if not math.isfinite(mark.value):
        return
    axes.plot(mark.interval, (row, row), "|-", color=mark.colour, linewidth=2.4, markersize=11, markeredgewidth=2)
    axes.plot(mark.value, row, mark.shape, color=mark.colour, markersize=9, markeredgecolor=PAPER)
    ground = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}
    axes.annotate(text, (mark.value, row), (0, 10), textcoords="offset points", ha="center", weight="bold", bbox=ground)


def _percent_axis(axes: Axes, label: str) -> None:
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}".replace("-", formats.MINUS)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.set_xlabel(label)


def _loss_table(curve: Sequence[LossPoint]) -> Table:
    stride = math.ceil(len(curve) / MOST_TABLE_ROWS) or 1
    shown = [point for index, point in enumerate(curve) if index % stride == 0 or _known(point.heldout_loss)]
    rows = tuple(
        (
            f"{point.step:,}",
            formats.number(point.loss, 4) if _known(point.loss) else "–",
            formats.number(point.heldout_loss, 4) if _known(point.heldout_loss) else "–",
            formats.significant(point.learning_rate),
            f"{point.tokens:,}",
        )
        for point in shown
    )
    caption = "Losses by step" if len(shown) == len(curve) else f"Losses by step: {len(shown)} of {len(curve)} points"
    return Table(caption, ("Step", "Training loss", "Held-out loss", "Learning rate", "Tokens so far"), rows)


def _thinned(points: Sequence[tuple[int, float | None]]) -> list[tuple[float, float]]:
    run = math.ceil(len(points) / MOST_CURVE_POINTS) or 1
    runs = (points[start : start + run] for start in range(0, len(points), run))
    return [
        (float(np.mean([s for s, _ in part])), float(np.mean([v for _, v in part if v is not None]))) for part in runs
    ]


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(printable(masked_text(text)), width, max_lines=3, placeholder=" …")) or "(no name)"
