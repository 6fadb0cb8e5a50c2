"""Axes: from values to places in a drawing, with round ticks, a grid and names.

width 820     names of rows, values of the vertical axis | the plane, as wide as is left
below         values of the horizontal axis, its name
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent_forge.report.svg import FONT_SIZE, GRID, INK, LINE_HEIGHT, MUTED, Canvas, Point, text_width

ROUND_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_GAP = 10
_EDGE = 4


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        low, high: values at its ends; `low` may be the larger one.
        ticks: values that are written, each with its text.
        name: of what is measured.
        grid: whether a line crosses the plane at each tick.
        colour: of the ticks' texts.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    name: str = ""
    grid: bool = False
    colour: str = MUTED


def round_values(low: float, high: float, most: int, whole: bool = False) -> list[float]:
    """Return round numbers within bounds, `most` and one at most.

    Args:
        low: lower bound.
        high: upper bound.
        most: intervals between them at most.
        whole: whole numbers only.
    """
    least = max((high - low) / most, 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(least))
    sizes = (power * size for size in ROUND_STEPS)
    step = next(size for size in sizes if size >= least * (1 - 1e-9) and not (whole and size % 1))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def spread(values: Sequence[float], margin: float) -> tuple[float, float]:
    """Return the bounds of values with a share of their distance added on both sides."""
    low, high = min(values), max(values)
    reach = (high - low) * margin or max(abs(low), 1.0) * 0.05
    return low - reach, high + reach


def measured(
    bounds: tuple[float, float],
    most: int,
    name: str,
    told: Callable[[float], str] = "{:,.10g}".format,
    whole: bool = False,
    grid: bool = False,
) -> Axis:
    """Return an axis over bounds, with round ticks."""
    ticks = tuple((value, told(value)) for value in round_values(*bounds, most, whole))
    return Axis(*bounds, ticks, name, grid)


def listed(names: Sequence[str]) -> Axis:
    """Return a vertical axis with one row for each name, from top to bottom."""
    return Axis(len(names) - 0.5, -0.75, tuple(enumerate(names)), colour=INK)


class Plane:
    """The plane between two axes, on a canvas of its own; what is drawn on it is placed by values.

    Args:
        width, height: of the canvas.
        x: horizontal axis.
        y: vertical axis.
        above: rows that a key takes above the plane.
    """

    def __init__(self, width: int, height: int, x: Axis, y: Axis, above: int = 0) -> None:
        self.canvas = Canvas(width, height)
        self._x, self._y = x, y
        texts = max((text_width(text) for _, text in y.ticks), default=0.0)
        self.left = _EDGE + texts + _GAP + (LINE_HEIGHT + _EDGE if y.name else 0)
        last = text_width(x.ticks[-1][1]) / 2 if x.ticks else 0.0
        self.right = width - max(_EDGE, last)
        self.top = _EDGE + FONT_SIZE / 2 + above * LINE_HEIGHT + (_GAP if above else 0)
        self.bottom = height - _EDGE - LINE_HEIGHT * (2 if x.name else 1) - _GAP
        self._frame()

    def at(self, x: float, y: float) -> Point:
        """Return where values are."""
        across = (x - self._x.low) / (self._x.high - self._x.low)
        up = (y - self._y.low) / (self._y.high - self._y.low)
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float, dashed: bool = False) -> None:
        """Draw a line through values; what is not finite interrupts it."""
        part: list[Point] = []
        for x, y in points:
            if math.isfinite(x) and math.isfinite(y):
                part.append(self.at(x, y))
            else:
                self.canvas.line(part, colour, width, dashed)
                part = []
        self.canvas.line(part, colour, width, dashed)

    def marks(
        self, points: Sequence[tuple[float, float]], shape: str, colour: str, size: float, edge: str | None = None
    ) -> None:
        """Draw a mark at each of some values that is finite."""
        for x, y in points:
            if math.isfinite(x) and math.isfinite(y):
                self.canvas.mark(self.at(x, y), shape, colour, size, edge)

    def across(self, value: float, dashed: bool = True) -> None:
        """Draw a horizontal line."""
        self.line([(self._x.low, value), (self._x.high, value)], MUTED, 1.2 if dashed else 1, dashed)

    def upright(self, value: float, dashed: bool = True) -> None:
        """Draw a vertical line."""
        self.line([(value, self._y.low), (value, self._y.high)], MUTED, 1.2 if dashed else 1, dashed)

    def key(self, entries: Sequence[tuple[str, str, str, bool]], columns: int) -> None:
        """Say above the plane what lines are: name, colour, mark (empty for none), whether dashed."""
        rows = -(-len(entries) // columns)
        wide = [max(text_width(entry[0]) for entry in entries[column::columns]) + 60 for column in range(columns)]
        for number, (name, colour, shape, dashed) in enumerate(entries):
            row, column = divmod(number, columns)
            x, y = self.left + sum(wide[:column]), self.top - _GAP - LINE_HEIGHT * (rows - row - 0.5)
            self.canvas.line([(x, y), (x + 28, y)], colour, 1.2 if dashed else 2, dashed)
            if shape:
                self.canvas.mark((x + 14, y), shape, colour, 6)
            self.canvas.text((x + 36, y), name)

    def _frame(self) -> None:
        for value, text in self._x.ticks:
            x, _ = self.at(value, self._y.low)
            if self._x.grid:
                self.canvas.line([(x, self.top), (x, self.bottom)], GRID, 1)
            self.canvas.text((x, self.bottom + _GAP + FONT_SIZE / 2), text, self._x.colour, "middle")
        for value, text in self._y.ticks:
            _, y = self.at(self._x.low, value)
            if self._y.grid:
                self.canvas.line([(self.left, y), (self.right, y)], GRID, 1)
            self.canvas.text((self.left - _GAP, y), text, self._y.colour, "end")
        self._names()

    def _names(self) -> None:
        if self._x.name:
            middle = (self.left + self.right) / 2
            self.canvas.text((middle, self.canvas.height - _EDGE - LINE_HEIGHT / 2), self._x.name, MUTED, "middle")
        if self._y.name:
            at = (_EDGE + LINE_HEIGHT / 2, (self.top + self.bottom) / 2)
            self.canvas.text(at, self._y.name, MUTED, "middle", turned=True)
