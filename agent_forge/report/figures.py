"""The report's plots: each drawn wide and narrow, with a text alternative and the table of its data.

Nothing is told by colour alone: marks differ in shape, bars and rows carry their names, and every value that is drawn
stands in the table.
"""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

import numpy as np
from markupsafe import Markup

from agent_forge.records import LossPoint
from agent_forge.report import formats
from agent_forge.report.axes import Plane, listed, measured, spread
from agent_forge.report.redact import masked_text
from agent_forge.report.svg import BLUE, GREEN, MUTED, ORANGE, PAPER, printable, text_width
from agent_forge.report.tables import Table

WIDE, NARROW = 820, 340
# Error bars of more rounds than this run into each other.
MOST_ERROR_BARS = 40
MOST_CURVE_POINTS = 300
MOST_TABLE_ROWS = 60
MOST_HISTOGRAM_BINS = 24
# Paints on a plane of some width and height, for a narrow screen or a wide one.
Paint = Callable[[int, int, bool], Plane]


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
    label: str,
    caption: str,
    marks: Sequence[Mark],
    axis: str,
    lines: Sequence[float] = (),
    whole: bool = False,
) -> Plot:
    """Draw estimates with their intervals, one below the other.

    Args:
        label: text alternative.
        caption: how to read it.
        marks: from top to bottom; what is not finite is left out.
        axis: what the horizontal axis measures, in percent.
        lines: values marked by dashed vertical lines.
        whole: whether the axis runs from 0 to 100 percent, however little of it the marks need.
    """
    seen = [value for mark in marks for value in (mark.value, *mark.interval) if math.isfinite(value)]
    bounds = (-0.02, 1.02) if whole else spread([*seen, *lines] or [0.0], 0.08)

    def paint(width: int, height: int, narrow: bool) -> Plane:
        names = [_wrapped(mark.name, 15 if narrow else 32) for mark in marks]
        plane = Plane(width, height, measured(bounds, 6, axis, _in_percent, grid=True), listed(names))
        for line in lines:
            plane.upright(line)
        for row, mark in enumerate(marks):
            _interval(plane, row, mark, formats.signed(100 * mark.value) if lines else f"{100 * mark.value:.1f}")
        return plane

    return _plot(label, caption, 60 + 52 * len(marks), paint, None)


def rounds_plot(
    gains: Sequence[tuple[int, float, tuple[float, float]]], label: str, caption: str, line: float, table: Table
) -> Plot:
    """Draw the gain of each round (round, gain, interval; fractions) with zero and one dashed line at `line`."""
    reaching = gains if len(gains) <= MOST_ERROR_BARS else ()
    drawn = [100 * value for _, gain, _ in gains for value in (gain, 0.0, line)]
    drawn += [100 * value for _, _, interval in reaching for value in interval]
    heights = spread([value for value in drawn if math.isfinite(value)], 0.05)
    first, last = min(number for number, _, _ in gains), max(number for number, _, _ in gains)

    def paint(width: int, height: int, narrow: bool) -> Plane:
        across = measured((first - 0.5, last + 0.5), 8 if narrow else 16, "Round", whole=True)
        name = "Gain in points" if narrow else "Gain in percentage points"
        plane = Plane(width, height, across, measured(heights, 5, name, _signed_number, grid=True))
        plane.across(0, dashed=False)
        plane.across(100 * line)
        for number, _, (low, high) in reaching:
            plane.line([(number, 100 * low), (number, 100 * high)], ORANGE, 2)
        plane.marks([(number, 100 * gain) for number, gain, _ in gains], "s", ORANGE, 9)
        return plane

    return _plot(label, caption, 280, paint, table)


def bars_plot(label: str, caption: str, counts: Mapping[str, int], highlight: str, axis: str) -> Plot:
    """Draw counts as horizontal bars in the order given; the bar named `highlight` stands out."""
    most = max([*counts.values(), 1])

    def paint(width: int, height: int, narrow: bool) -> Plane:
        names = [_wrapped(key, 18 if narrow else 40) for key in counts]
        across = measured((0, most * (1.22 if narrow else 1.1)), 3 if narrow else 8, axis, whole=True)
        plane = Plane(width, height, across, replace(listed(names), high=-0.5))
        for row, (key, count) in enumerate(counts.items()):
            (left, top), (right, bottom) = plane.at(0, row - 0.31), plane.at(count, row + 0.31)
            plane.canvas.box(left, top, right, bottom, GREEN if key == highlight else BLUE)
            plane.canvas.text((right + 6, (top + bottom) / 2), f"{count:,}")
        return plane

    total = sum(counts.values())
    rows = tuple(
        (key, f"{count:,}", formats.percent(count / total if total else None)) for key, count in counts.items()
    )
    table = Table(axis, ("Outcome", "Count", "Share"), rows)
    return _plot(label, caption, 60 + 36 * len(counts), paint, table)


def histogram_plot(label: str, caption: str, values: Sequence[int], axis: str) -> Plot:
    """Draw the distribution of whole numbers in bins of equal, whole width."""
    low, high = min(values), max(values)
    width = max(1, math.ceil((high - low + 1) / MOST_HISTOGRAM_BINS))
    edges_B = np.arange(low, high + width + 1, width)
    counts_B, _ = np.histogram(values, bins=edges_B)

    most = int(counts_B.max())

    def paint(drawn: int, height: int, narrow: bool) -> Plane:
        across = measured((low - 0.5, float(edges_B[-1]) - 0.5), 6 if narrow else 12, axis, whole=True)
        plane = Plane(drawn, height, across, measured((0, most * 1.05), 5, "Traces", whole=True, grid=True))
        for start, count in zip(edges_B.tolist(), counts_B.tolist(), strict=False):
            if count:
                plane.canvas.box(*plane.at(start - 0.5, count), *plane.at(start - 0.5 + width, 0), ORANGE, PAPER)
        return plane

    rows = tuple(
        (f"{start:,}" if width == 1 else f"{start:,} to {start + width - 1:,}", f"{count:,}")
        for start, count in zip(edges_B.tolist(), counts_B.tolist(), strict=False)
    )
    return _plot(label, caption, 250, paint, Table("Kept thoughts by length", (axis, "Traces"), rows))


def loss_plot(curve: Sequence[LossPoint], best_step: int, label: str, caption: str) -> Plot:
    """Draw the losses over the steps; more than a few hundred training losses are averaged in runs of equal length."""
    trained = _thinned([(point.step, point.loss) for point in curve if _known(point.loss)])
    heldout = [(point.step, point.heldout_loss) for point in curve if _known(point.heldout_loss)]

    heights = spread([value for _, value in (*trained, *heldout)] or [0.0], 0.05)
    steps = spread([step for step, _ in (*trained, *heldout)] + [best_step], 0.03)

    def paint(width: int, height: int, narrow: bool) -> Plane:
        columns = 1 if narrow else 3
        across = measured(steps, 5 if narrow else 10, "Step", whole=True)
        upwards = measured(heights, 7, "Loss in nats per token", grid=True)
        plane = Plane(width, height, across, upwards, above=3 if narrow else 1)
        plane.upright(best_step)
        plane.line(trained, BLUE, 1.6)
        plane.line(heldout, ORANGE, 2)
        plane.marks(heldout, "s", ORANGE, 6)
        lines = (("Training loss", BLUE, "", False), ("Held-out loss", ORANGE, "s", False))
        plane.key((*lines, ("Step that was kept", MUTED, "", True)), columns)
        return plane

    return _plot(label, caption, 330, paint, _loss_table(curve))


def drawn_twice(height: int, paint: Paint) -> tuple[Markup, Markup]:
    """Return a drawing for wide screens and one for narrow ones."""
    wide, narrow = paint(WIDE, height, False), paint(NARROW, height, True)
    return wide.canvas.element(), narrow.canvas.element()


def _plot(label: str, caption: str, height: int, paint: Paint, table: Table | None) -> Plot:
    return Plot(label, caption, *drawn_twice(height, paint), table)


def _interval(plane: Plane, row: int, mark: Mark, text: str) -> None:
    if not math.isfinite(mark.value):
        return
    low, high = mark.interval
    plane.line([(low, row), (high, row)], mark.colour, 2.4)
    for end in (low, high):
        if math.isfinite(end):
            x, y = plane.at(end, row)
            plane.canvas.line([(x, y - 5.5), (x, y + 5.5)], mark.colour, 2)
    plane.marks([(mark.value, row)], mark.shape, mark.colour, 10, PAPER)
    x, y = plane.at(mark.value, row)
    half = text_width(text) / 2 + 1
    # Beside the rows' names and within the drawing, wherever the mark is.
    x = min(max(x, plane.left + half - 4), plane.canvas.width - half)
    plane.canvas.box(x - half, y - 26, x + half, y - 10, PAPER)
    plane.canvas.text((x, y - 18), text, anchor="middle", bold=True)


def _in_percent(value: float) -> str:
    return f"{100 * value:.3g}".replace("-", formats.MINUS)


def _signed_number(value: float) -> str:
    return f"{value:.10g}".replace("-", formats.MINUS)


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


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(printable(masked_text(text)), width, max_lines=3, placeholder=" …")) or "(no name)"
